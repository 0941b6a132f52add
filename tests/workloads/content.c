// A library whose contents are chosen when it is compiled: what its function is called, how large its
// frame is, and how much it allocates.
#include <stdlib.h>
#include <string.h>

#define FUNCTION __attribute__((noipa, noinline))

FUNCTION static void *CONTENT(void) {
    char frame[FRAME];
    memset(frame, 1, sizeof frame);
    void *block = malloc(SIZE);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return block;
}

FUNCTION void *content_allocates(void) {
    char frame[FRAME];
    memset(frame, 1, sizeof frame);
    void *block = CONTENT();
    __asm__ volatile("" : : "r"(frame) : "memory");
    return block;
}
