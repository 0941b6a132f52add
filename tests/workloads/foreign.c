// Memory taken by C code that Python calls, in Python's threads and in threads of its own.
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

typedef int visitor(int);

void *take(size_t size) {
    void *block = malloc(size);
    // Not a tail call: the caller has to stay on the stack.
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

static void *take_for_caller(void *size) {
    void *block = take(*(size_t *)size);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

// In a thread that Python knows nothing of.
void *take_in_thread(size_t size) {
    pthread_t thread;
    void *block = NULL;
    if (pthread_create(&thread, NULL, take_for_caller, &size) != 0)
        abort();
    pthread_join(thread, &block);
    return block;
}

int call_back(visitor *visit, int value) {
    int answer = visit(value);
    __asm__ volatile("" : : "r"(answer) : "memory");
    return answer;
}

struct visit {
    visitor *visit;
    int value;
};

static void *visit_for_caller(void *pointer) {
    struct visit *visit = pointer;
    visit->value = call_back(visit->visit, visit->value);
    return NULL;
}

int call_back_in_thread(visitor *visitor, int value) {
    pthread_t thread;
    struct visit visit = {visitor, value};
    if (pthread_create(&thread, NULL, visit_for_caller, &visit) != 0)
        abort();
    pthread_join(thread, NULL);
    return visit.value;
}

void give_back(void *block) {
    free(block);
}
