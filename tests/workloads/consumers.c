// Memory of every class in known amounts, each touched to the last page.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>

#include "workload.h"

#define MIB (1UL << 20)

static char written_data[8 * MIB];

FUNCTION void *keep(size_t size) {
    char *block = malloc(size);
    memset(block, 1, size);
    return block;
}

FUNCTION void *never_touched(size_t size) { return malloc(size); }

static char *map(size_t size, int flags, int fd) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    REQUIRE(memory != MAP_FAILED);
    memset(memory, 2, size);
    return memory;
}

// A thread with 3 MiB of its stack in use.
static void *deep(void *done) {
    volatile char stack[3 * MIB];
    memset((char *)stack, 3, sizeof stack);
    *(volatile int *)done = 1;
    for (;;) pause();
    return NULL;
}

int main(void) {
    // Before Linux 6.7 stacks may have huge pages, which are larger than what is in use.
    REQUIRE(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
    say("ready");
    wait_for_line();
    keep(32 * MIB);
    for (int i = 0; i < 1000; i++) keep(2000);
    never_touched(64 * MIB);
    memset(written_data, 4, sizeof written_data);
    map(16 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    int memfd = memfd_create("known", 0);
    REQUIRE(ftruncate(memfd, 12 * MIB) == 0);
    // Twice the same pages: they count twice in the RSS.
    map(12 * MIB, MAP_SHARED, memfd);
    map(12 * MIB, MAP_SHARED, memfd);
    int id = shmget(IPC_PRIVATE, 6 * MIB, IPC_CREAT | 0600);
    char *segment = shmat(id, NULL, 0);
    REQUIRE(segment != (void *)-1);
    shmctl(id, IPC_RMID, NULL);
    memset(segment, 5, 6 * MIB);
    pthread_t threads[2];
    volatile int done[2] = {0, 0};
    for (int i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, deep, (void *)&done[i]) == 0);
    while (!done[0] || !done[1]) usleep(1000);
    say("done");
    wait_for_line();
    return 0;
}
