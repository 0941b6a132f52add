// Gives back in one call what many calls have taken: the top of the heap, and mappings in a row.
#include <malloc.h>
#include <sys/mman.h>

#include "workload.h"

#define BLOCKS 50000
#define MAPPINGS 100
#define MIB (1UL << 20)

static void *blocks[BLOCKS];

FUNCTION void grow(void) {
    for (int i = 0; i < BLOCKS; i++) blocks[i] = malloc(1000);
}

// The first blocks go to the thread's cache: were they the last, the heap would not shrink.
FUNCTION void trim(void) {
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    malloc_trim(0);
}

FUNCTION void map_in_a_row(char *start) {
    for (int i = 0; i < MAPPINGS; i++) {
        void *piece = mmap(start + i * MIB, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        REQUIRE(piece != MAP_FAILED);
    }
}

int main(void) {
    char *start = mmap(NULL, MAPPINGS * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(start != MAP_FAILED);
    make_cache();
    say("ready");
    wait_for_line();
    grow();
    trim();
    map_in_a_row(start);
    REQUIRE(munmap(start, MAPPINGS * MIB) == 0);
    say("done");
    wait_for_line();
}
