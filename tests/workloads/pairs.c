// Allocates and releases in a loop, and measures itself.
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// Nanoseconds for each pair of malloc and free.
double pairs(long count, size_t size) {
    double start = now();
    for (long i = 0; i < count; i++) {
        void *block = malloc(size);
        __asm__ volatile("" : : "r"(block) : "memory");
        free(block);
    }
    return (now() - start) / count;
}

// The same, `depth` native frames further from the caller.
__attribute__((noinline)) double nested(long depth, long count, size_t size) {
    double time = depth > 0 ? nested(depth - 1, count, size) : pairs(count, size);
    __asm__ volatile("" ::: "memory");
    return time;
}
