// A million allocations of mixed sizes. Says, for a sampling interval of 64 KiB, the truth and the
// variance that an estimate may have: an allocation of `s` bytes that is recorded with the
// probability `p` weighs `s / p` bytes and `1 / p` objects.
#include <math.h>
#include "workload.h"

#define INTERVAL 65536.0
#define COUNT 1000000
#define LIVE 4096

static void *blocks[LIVE];
static size_t sizes[LIVE];
static double seen_bytes, seen_objects, byte_variance, object_variance;

static unsigned long random_number(void) {
    static unsigned long seed = 42;
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return seed >> 33;
}

// Mostly small, some of kilobytes, a few of a megabyte.
static size_t random_size(void) {
    unsigned long kind = random_number() % 1000;
    if (kind < 900) return 1 + random_number() % 500;
    if (kind < 999) return 1 + random_number() % 20000;
    return 1 + random_number() % 1000000;
}

static void count(size_t size) {
    double p = -expm1(-(double)size / INTERVAL);
    double rest = (1 - p) / p;
    seen_bytes += size;
    seen_objects += 1;
    byte_variance += (double)size * size * rest;
    object_variance += rest;
}

FUNCTION void *mixed(size_t size) { return malloc(size); }
FUNCTION void *released(size_t size) { return malloc(size); }

static void say_truth(const char *name) {
    unsigned long values[4] = {seen_bytes, seen_objects, sqrt(byte_variance) + 1,
                               sqrt(object_variance) + 1};
    say_sums(name, values, 4);
}

int main(void) {
    say("ready");
    wait_for_line();
    for (int i = 0; i < COUNT; i++) {
        size_t size = random_size();
        void **block = &blocks[i % LIVE];
        count(size);
        free(*block);
        *block = mixed(size);
        sizes[i % LIVE] = size;
    }
    say_truth("allocated");
    seen_bytes = seen_objects = byte_variance = object_variance = 0;
    for (int i = 0; i < LIVE; i++) count(sizes[i]);
    say_truth("live");
    for (int i = 0; i < LIVE; i++) {
        void *block = released(random_size());
        free(realloc(block, random_size()));
    }
    say("done");
    wait_for_line();
}
