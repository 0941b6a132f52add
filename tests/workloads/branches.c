// Many live blocks at many stacks: every way through twelve decisions is a stack of its own.
#include "workload.h"

#define DECISIONS 12
#define BLOCKS (1 << DECISIONS)
#define SIZE 100

static void *blocks[BLOCKS];

FUNCTION void *go(int way, int decisions);
FUNCTION void *left(int way, int decisions) { return go(way, decisions); }
FUNCTION void *right(int way, int decisions) { return go(way, decisions); }

FUNCTION void *go(int way, int decisions) {
    if (decisions == 0) return malloc(SIZE);
    void *block = way & 1 ? left(way >> 1, decisions - 1) : right(way >> 1, decisions - 1);
    __asm__ volatile("" ::: "memory");
    return block;
}

int main(void) {
    make_cache();
    say("ready");
    wait_for_line();
    for (int i = 0; i < BLOCKS; i++) blocks[i] = go(i, DECISIONS);
    say("done");
    wait_for_line();
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    say("done");
    wait_for_line();
}
