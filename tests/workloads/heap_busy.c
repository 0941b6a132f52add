// Threads that allocate and free all the time, among blocks that stay. Arguments: how many threads,
// and how many arenas they share.
#include "workload.h"
#include <malloc.h>
#include <pthread.h>

#define MOST_THREADS 8
#define SLOTS 400
#define STAYING 100

static void *staying[MOST_THREADS][STAYING];
static pthread_barrier_t started;

static unsigned next(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// Sizes of every kind of bin, and some that are given back at the end of the arena.
static size_t size(unsigned *seed) {
    static const unsigned ranges[] = {100, 1000, 3000, 20000, 100000};
    return 1 + next(seed) % ranges[next(seed) % 16 % 5];
}

// Data that looks like the header of a chunk, wherever one was before.
static void fill(unsigned long *block, size_t size, unsigned seed) {
    unsigned long words = size / sizeof *block;
    for (unsigned long i = 0; i < words && i < 64; i++) block[i] = 0x10 * (seed % 300 + i % 7) + 5;
}

static void change(void **slots, unsigned *seed) {
    unsigned slot = next(seed) % SLOTS;
    size_t wanted = size(seed);
    if (next(seed) % 8 == 0) {
        slots[slot] = realloc(slots[slot], wanted);
    } else {
        free(slots[slot]);
        slots[slot] = malloc(wanted);
    }
    REQUIRE(slots[slot] != NULL);
    fill(slots[slot], wanted, *seed);
}

static void *work(void *argument) {
    long number = (long)argument;
    unsigned seed = number + 1;
    void **slots = calloc(SLOTS, sizeof *slots);
    for (int i = 0; i < SLOTS; i++) slots[i] = malloc(size(&seed));
    for (int i = 0; i < STAYING; i++) {
        staying[number][i] = malloc(size(&seed));
        for (int j = 0; j < 20; j++) change(slots, &seed);
    }
    pthread_barrier_wait(&started);
    for (;;) change(slots, &seed);
    return NULL;
}

int main(int argc, char **argv) {
    REQUIRE(argc == 3);
    long threads = atol(argv[1]);
    REQUIRE(threads <= MOST_THREADS);
    mallopt(M_ARENA_MAX, atoi(argv[2]));
    pthread_barrier_init(&started, NULL, threads + 1);
    say("ready");
    wait_for_line();
    for (long i = 0; i < threads; i++) {
        pthread_t thread;
        REQUIRE(!pthread_create(&thread, NULL, work, (void *)i));
    }
    pthread_barrier_wait(&started);
    for (int i = 0; i < threads * STAYING; i++) {
        void *block = staying[i / STAYING][i % STAYING];
        unsigned long values[] = {(unsigned long)block, malloc_usable_size(block)};
        char line[80];
        snprintf(line, sizeof line, "stays %lu %lu", values[0], values[1]);
        say(line);
    }
    say("done");
    wait_for_line();
    return 0;
}
