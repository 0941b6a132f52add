// Four threads allocate and release until told to stop, and check what they wrote into each block.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define BLOCKS 64

static atomic_int stop;
static atomic_long rounds, faults;

static void check(unsigned char *block, size_t size, unsigned char mark) {
    if (block[0] != mark || block[size / 2] != mark || block[size - 1] != mark) faults++;
}

static void *work(void *argument) {
    unsigned seed = (unsigned)(size_t)argument;
    unsigned char *blocks[BLOCKS] = {0}, marks[BLOCKS];
    size_t sizes[BLOCKS];
    while (!stop) {
        unsigned place = rand_r(&seed) % BLOCKS;
        if (blocks[place]) check(blocks[place], sizes[place], marks[place]);
        sizes[place] = 1 + rand_r(&seed) % 2000;
        marks[place] = (unsigned char)rand_r(&seed);
        if (rand_r(&seed) % 4 && blocks[place]) {
            blocks[place] = realloc(blocks[place], sizes[place]);
        } else {
            free(blocks[place]);
            blocks[place] = malloc(sizes[place]);
        }
        memset(blocks[place], marks[place], sizes[place]);
        rounds++;
    }
    for (int place = 0; place < BLOCKS; place++) {
        if (blocks[place]) check(blocks[place], sizes[place], marks[place]);
        free(blocks[place]);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    char line[16];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    while (rounds < 10000) {}
    puts("ready");
    fflush(stdout);
    // Each line is answered with the rounds so far; an empty one ends it all.
    while (fgets(line, sizeof line, stdin) && line[0] == 'r') {
        printf("%ld\n", (long)rounds);
        fflush(stdout);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("faults %ld\ndone\n", (long)faults);
    fflush(stdout);
    return !fgets(line, sizeof line, stdin);
}
