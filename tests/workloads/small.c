// Allocates millions of small blocks as fast as it can, as building and dropping tables of small
// values does; says how often per line that it reads.
#include "workload.h"

#define BLOCKS 1024

static void *blocks[BLOCKS];
static unsigned long count, bytes;

FUNCTION void churn(unsigned long rounds) {
    for (unsigned long round = 0; round < rounds; round++) {
        int slot = round % BLOCKS;
        size_t size = 16 + round % 100;
        free(blocks[slot]);
        blocks[slot] = malloc(size);
        *(char *)blocks[slot] = 1;
        count++;
        bytes += size;
    }
}

int main(void) {
    say("ready");
    wait_for_line();
    // Until the probes are off, which makes it a hundred times faster, and a while longer.
    for (;;) {
        churn(100000);
        unsigned long sums[2] = {bytes, count};
        say_sums("churn", sums, 2);
    }
}
