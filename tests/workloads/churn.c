// A thousand threads that live shortly and leave memory behind; threads that end by
// `pthread_exit` and by cancellation.
#include <pthread.h>
#include <signal.h>
#include "workload.h"

#define AT_ONCE 8
#define THREADS 1000

FUNCTION void *leak(size_t size) { return malloc(size); }

FUNCTION void hold_for_the_thread(size_t size) { free(malloc(size)); }

static void *short_life(void *number) {
    size_t size = 1 + (size_t)number;
    hold_for_the_thread(size * 3);
    return leak(size);
}

FUNCTION void leak_and_exit(void) {
    malloc(777);
    pthread_exit(NULL);
}

static void *exits(void *unused) {
    leak_and_exit();
    return unused;
}

static void release(void *block) { free(block); }

// Cancelled in `pause`; the clean-up handler releases one of the two blocks.
FUNCTION void leak_and_wait(int ready) {
    malloc(888);
    void *block = malloc(999);
    pthread_cleanup_push(release, block);
    REQUIRE(write(ready, "", 1) == 1);
    for (;;) pause();
    pthread_cleanup_pop(1);
}

static void *waits(void *ready) {
    leak_and_wait((int)(long)ready);
    return NULL;
}

static void churn(void) {
    for (size_t number = 0; number < THREADS; number += AT_ONCE) {
        pthread_t threads[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            REQUIRE(pthread_create(&threads[i], NULL, short_life, (void *)(number + i)) == 0);
        for (size_t i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv) {
    int ready[2];
    char byte;
    pthread_t thread;
    REQUIRE(pipe(ready) == 0);
    say("ready");
    wait_for_line();
    churn();
    for (int i = 0; i < 20; i++) {
        REQUIRE(pthread_create(&thread, NULL, exits, NULL) == 0);
        pthread_join(thread, NULL);
    }
    for (int i = 0; i < 20; i++) {
        REQUIRE(pthread_create(&thread, NULL, waits, (void *)(long)ready[1]) == 0);
        REQUIRE(read(ready[0], &byte, 1) == 1);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    say("done");
    wait_for_line();
}
