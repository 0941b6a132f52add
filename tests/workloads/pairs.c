// Allocates and releases in a loop, and measures itself.
#include <stdlib.h>
#include <time.h>

// Each caller of malloc makes a stack of its own.
#define CALLER(number)                                                    \
    __attribute__((noinline)) static void *caller_##number(size_t size) { \
        void *block = malloc(size);                                       \
        __asm__ volatile("" ::: "memory");                                \
        return block;                                                     \
    }
CALLER(0) CALLER(1) CALLER(2) CALLER(3) CALLER(4) CALLER(5) CALLER(6) CALLER(7)

static void *(*const callers[])(size_t) = {
    caller_0, caller_1, caller_2, caller_3, caller_4, caller_5, caller_6, caller_7,
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// Nanoseconds for each pair of malloc and free, with `stacks` stacks (a power of two, at most 8)
// in turn.
static double pairs(long count, long stacks, size_t size) {
    double start = now();
    for (long i = 0; i < count; i++) free(callers[i & (stacks - 1)](size));
    return (now() - start) / count;
}

// As pairs, below so many frames. Nothing is inlined, and no call is a jump.
__attribute__((noipa)) double pairs_below(long frames, long count, long stacks, size_t size) {
    double time = frames > 0 ? pairs_below(frames - 1, count, stacks, size) : pairs(count, stacks, size);
    __asm__ volatile("" : "+x"(time));
    return time;
}
