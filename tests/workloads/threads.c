// Eight threads allocate, grow and release at once, on one heap whose addresses they take from
// each other, and hand blocks over to each other.
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include "workload.h"

#define THREADS 8
#define SLOTS 48
#define STEPS 4000
#define SHARED 16
#define HANDLES (THREADS * SLOTS + SHARED + 64)

// A block with the thread in whose function it was allocated last.
struct block {
    void *address;
    size_t size;
    int owner;
};

static struct block blocks[THREADS][SLOTS];
static _Atomic(struct block *) shared[SHARED];
static atomic_ulong bytes[THREADS], objects[THREADS], all_bytes[THREADS], all_objects[THREADS];
static pthread_barrier_t barrier;

static unsigned long random_below(unsigned long *seed, unsigned long limit) {
    *seed = *seed * 6364136223846793005UL + 1442695040888963407UL;
    return (*seed >> 33) % limit;
}

static void count_in(struct block *block, int thread) {
    block->owner = thread;
    atomic_fetch_add(&bytes[thread], block->size);
    atomic_fetch_add(&objects[thread], 1);
    atomic_fetch_add(&all_bytes[thread], block->size);
    atomic_fetch_add(&all_objects[thread], 1);
}

static void count_out(struct block *block) {
    atomic_fetch_sub(&bytes[block->owner], block->size);
    atomic_fetch_sub(&objects[block->owner], 1);
}

// Resizes, allocates or releases a block: each in the thread's own function.
static void step(struct block *block, unsigned long *seed, int thread) {
    size_t size = random_below(seed, 16) == 0 ? 0 : 1 + random_below(seed, 3000);
    if (block->address) {
        count_out(block);
        if (size % 5 == 0) {
            free(block->address);
            block->address = NULL;
            return;
        }
        block->address = realloc(block->address, size);
        REQUIRE(block->address != NULL);
    } else {
        block->address = size % 3 == 0   ? malloc(size)
                         : size % 3 == 1 ? calloc(1, size)
                                         : memalign(64, size);
    }
    block->size = size;
    count_in(block, thread);
}

static void hand_over(struct block *mine, unsigned long *seed) {
    struct block *other = atomic_exchange(&shared[random_below(seed, SHARED)], NULL);
    if (!other) return;
    // What is in the hand now is nobody else's.
    struct block swapped = *other;
    *other = *mine;
    *mine = swapped;
    for (int place = 0;; place = (place + 1) % SHARED) {
        struct block *empty = NULL;
        if (atomic_compare_exchange_strong(&shared[place], &empty, other)) return;
    }
}

static __attribute__((always_inline)) inline void work(int thread, unsigned long seed) {
    for (int i = 0; i < STEPS; i++) {
        struct block *block = &blocks[thread][random_below(&seed, SLOTS)];
        step(block, &seed, thread);
        if (i % 4 == 0) hand_over(block, &seed);
    }
}

// The same code once per thread, so that each has a function of its own.
#define CHAIN(number) \
    FUNCTION void chain_##number(unsigned long seed) { work(number, seed); }
CHAIN(0) CHAIN(1) CHAIN(2) CHAIN(3) CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7)
static void (*const chains[THREADS])(unsigned long) = {
    chain_0, chain_1, chain_2, chain_3, chain_4, chain_5, chain_6, chain_7};

static void *run(void *number) {
    long thread = (long)number;
    pthread_barrier_wait(&barrier);
    chains[thread](1000 + thread);
    pthread_barrier_wait(&barrier);
    // The main thread is at the top.
    pthread_barrier_wait(&barrier);
    chains[thread](2000 + thread);
    pthread_barrier_wait(&barrier);
    // What glibc does when a thread ends is no part of the test.
    pause();
    return NULL;
}

FUNCTION void *at_the_top(void) { return malloc(64 << 20); }

static void say_what_is_live(const char *prefix) {
    for (int thread = 0; thread < THREADS; thread++) {
        char name[32];
        snprintf(name, sizeof name, "%s_%d", prefix, thread);
        unsigned long values[4] = {bytes[thread], objects[thread], all_bytes[thread],
                                   all_objects[thread]};
        say_sums(name, values, 4);
    }
}

int main(void) {
    static struct block in_between[SHARED];
    pthread_t threads[THREADS];
    for (int i = 0; i < SHARED; i++) shared[i] = &in_between[i];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    say("ready");
    wait_for_line();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    free(at_the_top());
    say_what_is_live("peak");
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    say_what_is_live("chain");
    say("done");
    wait_for_line();
}
