// Reaches its peak in known ways and says what was live then.
#include "workload.h"

#define KINDS 4
#define BLOCKS 512

static void *blocks[BLOCKS];
static size_t sizes[BLOCKS];
static int kinds[BLOCKS];
static unsigned long bytes[KINDS], objects[KINDS], peak_bytes[KINDS], peak_objects[KINDS];
static unsigned long live, peak, total, count, marks;
static unsigned long seed = 4711;

static unsigned long random_below(unsigned long limit) {
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return (seed >> 33) % limit;
}

FUNCTION void *alpha(size_t size) { return malloc(size); }
FUNCTION void *beta(size_t size) { return calloc(1, size); }
FUNCTION void *gamma_(size_t size) { return realloc(NULL, size); }
FUNCTION void *delta(size_t size) { return malloc(size); }

static void add(int slot, int kind, size_t size) {
    static void *(*const functions[KINDS])(size_t) = {alpha, beta, gamma_, delta};
    blocks[slot] = functions[kind](size);
    sizes[slot] = size;
    kinds[slot] = kind;
    bytes[kind] += size;
    objects[kind]++;
    live += size;
    total += size;
    count++;
    if (live <= peak) return;
    peak = live;
    marks++;
    memcpy(peak_bytes, bytes, sizeof bytes);
    memcpy(peak_objects, objects, sizeof objects);
}

static void drop(int slot) {
    free(blocks[slot]);
    blocks[slot] = NULL;
    live -= sizes[slot];
    bytes[kinds[slot]] -= sizes[slot];
    objects[kinds[slot]]--;
}

static void drop_some(int percent) {
    for (int slot = 0; slot < BLOCKS; slot++)
        if (blocks[slot] && random_below(100) < (unsigned)percent) drop(slot);
}

// Much in one function, part of it released, then more in another.
static void phases(void) {
    for (int slot = 0; slot < 100; slot++) add(slot, 0, 10000 + slot);
    for (int slot = 0; slot < 60; slot++) drop(slot);
    for (int slot = 100; slot < 300; slot++) add(slot, 1, 6000 + slot);
    drop_some(90);
}

// Thousands of steps up and down, each of random size, that keep close to a height. With every
// small rise of the height there is a new high now and then.
static void steps(unsigned long height, unsigned long rise) {
    for (int step = 0; step < 20000; step++, height += rise) {
        int slot = random_below(BLOCKS);
        if (blocks[slot]) {
            drop(slot);
        } else if (live < height || random_below(8) == 0) {
            add(slot, random_below(KINDS), random_below(30000));
        }
    }
}

static void say_what_was_live(const char *when) {
    static const char *const names[KINDS] = {"alpha", "beta", "gamma_", "delta"};
    for (int kind = 0; kind < KINDS; kind++) {
        unsigned long values[4] = {bytes[kind], objects[kind], peak_bytes[kind], peak_objects[kind]};
        say_sums(names[kind], values, 4);
    }
    unsigned long values[4] = {live, peak, total, count};
    say_sums("all", values, 4);
    say_sums("marks", &marks, 1);
    say(when);
}

// Once up the hill in the steps of one function, and then never as high again.
static void hill(void) {
    for (int slot = 0; slot < BLOCKS; slot++)
        if (!blocks[slot]) add(slot, slot % KINDS, 20000 - slot);
    drop_some(70);
    steps(1000000, 0);
}

int main(int argc, char **argv) {
    say("ready");
    wait_for_line();
    phases();
    if (argc > 1 && strcmp(argv[1], "hill") == 0) hill();
    else steps(peak, 50), steps(peak - 200000, 0);
    say_what_was_live("done");
    wait_for_line();
}
