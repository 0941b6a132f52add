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
#define EIGHT(of, tens) of(tens##0) of(tens##1) of(tens##2) of(tens##3) of(tens##4) of(tens##5) of(tens##6) of(tens##7)
#define ALL(of) EIGHT(of, 1) EIGHT(of, 2) EIGHT(of, 3) EIGHT(of, 4) EIGHT(of, 5) EIGHT(of, 6) EIGHT(of, 7) EIGHT(of, 8)
ALL(CALLER)

#define NAME(number) caller_##number,
static void *(*const callers[])(size_t) = {ALL(NAME)};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// Nanoseconds for each pair of malloc and free, with `stacks` stacks (a power of two, at most 64)
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
