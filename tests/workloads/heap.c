// Heaps of known shapes. Says what is live by its own count and what mallinfo2 says of the same
// moment; waits; calls malloc_trim(0); says how much memory it has before and after; waits.
#include "workload.h"
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>

// Before glibc 2.33 there is one with numbers of 32 bits, which these heaps fit.
#if __GLIBC_MINOR__ < 33
#define mallinfo2 mallinfo
#endif

#define MAX_BLOCKS 2000000
#define THREADS 8

static void *blocks[MAX_BLOCKS];
static unsigned long live_bytes, live_count;
static unsigned seed = 1;

static unsigned draw(unsigned below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void count(void *block, int sign) {
    __atomic_add_fetch(&live_bytes, sign * (long)malloc_usable_size(block), __ATOMIC_RELAXED);
    __atomic_add_fetch(&live_count, sign, __ATOMIC_RELAXED);
}

static void *get(size_t size) {
    void *block = malloc(size);
    REQUIRE(block != NULL);
    memset(block, 0x5a, size);
    count(block, 1);
    return block;
}

static void put(void *block) {
    count(block, -1);
    free(block);
}

// Many blocks, of which every `keep`th stays.
static void interleave(void **list, int number, unsigned smallest, unsigned range, int keep) {
    for (int i = 0; i < number; i++) list[i] = get(smallest + draw(range));
    for (int i = 0; i < number; i++)
        if (i % keep) put(list[i]);
}

static pthread_barrier_t all_done;

static void *thread_work(void *argument) {
    long number = (long)argument;
    interleave(blocks + number * 20000, 20000, 16 << (number % 4), 900, 5 + number);
    pthread_barrier_wait(&all_done);
    pause();
    return NULL;
}

static void start_threads(void) {
    // Since glibc 2.43 a thread has a cache once it has freed something.
    put(get(100));
    pthread_barrier_init(&all_done, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) {
        pthread_t thread;
        REQUIRE(!pthread_create(&thread, NULL, thread_work, (void *)i));
    }
    pthread_barrier_wait(&all_done);
}

static void map_chunks(void) {
    for (int i = 0; i < 40; i++) blocks[i] = get((200 << 10) + draw(3 << 20));
    for (int i = 0; i < 40; i += 3) put(blocks[i]);
    for (int i = 0; i < 6; i++) {
        void *block;
        REQUIRE(!posix_memalign(&block, 64ul << 3 * i, (1 << 20) + 4096 * draw(100)));
        memset(block, 1, 1 << 20);
        count(block, 1);
    }
    // Aligned ones that are resized: the first of their headers is out of date then.
    for (int i = 0; i < 12; i++) {
        void *block;
        REQUIRE(!posix_memalign(&block, 32ul << i, (1 << 20) + 4096 * draw(100)));
        block = realloc(block, i % 2 ? 200 << 10 : (3 << 20) + 4096 * draw(100));
        REQUIRE(block != NULL);
        count(block, 1);
    }
}

static void shape(const char *name) {
    mallopt(M_ARENA_TEST, 64);
    if (!strcmp(name, "fresh")) get(100);
    else if (!strcmp(name, "interleaved")) interleave(blocks, 200000, 16, 2000, 7);
    else if (!strcmp(name, "small")) interleave(blocks, 1000000, 16, 100, 3);
    else if (!strcmp(name, "pages")) interleave(blocks, 4000, 3000, 60000, 2);
    else if (!strcmp(name, "sparse")) interleave(blocks, 400000, 200, 200, 40);
    else if (!strcmp(name, "top")) interleave(blocks, 3000, 20000, 40000, 3001);
    else if (!strcmp(name, "threads")) start_threads();
    else if (!strcmp(name, "mapped")) map_chunks();
    else if (!strcmp(name, "kept_top")) {
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        interleave(blocks, 3000, 20000, 40000, 3001);
    } else REQUIRE(!"a known shape");
}

// Memory without files, KiB, counted page by page: what in /proc/self/statm says lags behind.
static unsigned long resident(void) {
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    int size = read(file, text, sizeof text - 1);
    REQUIRE(size > 0);
    close(file);
    text[size] = 0;
    return strtoul(strstr(text, "Anonymous:") + 10, NULL, 10);
}

int main(int argc, char **argv) {
    REQUIRE(argc == 2);
    say("ready");
    wait_for_line();
    shape(argv[1]);
    struct mallinfo2 info = mallinfo2();
    unsigned long live[] = {live_bytes, live_count};
    unsigned long values[] = {info.arena, info.uordblks, info.fordblks, info.fsmblks,
                              info.keepcost, info.hblks, info.hblkhd};
    say_sums("live", live, 2);
    say_sums("mallinfo", values, 7);
    say("done");
    wait_for_line();
    unsigned long before = resident();
    malloc_trim(0);
    unsigned long trim[] = {before, resident()};
    say_sums("trim", trim, 2);
    say("done");
    wait_for_line();
    return 0;
}
