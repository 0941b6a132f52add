// A library that keeps blocks in a function named KEEP, below a frame of FRAME bytes.
#include <stdlib.h>
#include <string.h>

#define FUNCTION __attribute__((noipa, noinline))

FUNCTION void *KEEP(size_t size) {
    char frame[FRAME];
    memset(frame, 1, sizeof frame);
    __asm__ volatile("" ::"r"(frame) : "memory");
    return malloc(size);
}

FUNCTION void *keep(size_t size) {
    void *block = KEEP(size);
    __asm__ volatile("" ::: "memory");
    return block;
}
