// Four threads that allocate and free all the time, among blocks that stay.
#include "workload.h"
#include <malloc.h>
#include <pthread.h>

#define THREADS 4
#define SLOTS 6000
#define STAYING 2

static void *staying[THREADS][STAYING];
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

static void *work(void *argument) {
    long number = (long)argument;
    unsigned seed = number + 1;
    void **slots = calloc(SLOTS, sizeof *slots);
    for (int i = 0; i < SLOTS; i++) slots[i] = malloc(size(&seed));
    for (int i = 0; i < STAYING; i++) {
        staying[number][i] = malloc(5000 + 3000 * i);
        for (int j = 0; j < SLOTS / 2; j++) {
            unsigned slot = next(&seed) % SLOTS;
            free(slots[slot]);
            slots[slot] = malloc(size(&seed));
        }
    }
    pthread_barrier_wait(&started);
    for (;;) {
        unsigned slot = next(&seed) % SLOTS;
        free(slots[slot]);
        slots[slot] = malloc(size(&seed));
        REQUIRE(slots[slot] != NULL);
        memset(slots[slot], 0x21, 24);
    }
    return NULL;
}

int main(void) {
    pthread_barrier_init(&started, NULL, THREADS + 1);
    say("ready");
    wait_for_line();
    for (long i = 0; i < THREADS; i++) {
        pthread_t thread;
        REQUIRE(!pthread_create(&thread, NULL, work, (void *)i));
    }
    pthread_barrier_wait(&started);
    unsigned long values[THREADS * STAYING * 2];
    for (int i = 0; i < THREADS * STAYING; i++) {
        void *block = staying[i / STAYING][i % STAYING];
        values[2 * i] = (unsigned long)block;
        values[2 * i + 1] = malloc_usable_size(block);
    }
    say_sums("staying", values, THREADS * STAYING * 2);
    say("done");
    wait_for_line();
    return 0;
}
