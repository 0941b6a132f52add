// The stack of a thread at the low end of a mapping that goes on with other memory: a guard below, and
// nothing that tells where it ends.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "workload.h"

#define MIB (1UL << 20)
#define GUARD 4096

static void *waits(void *nothing) {
    wait_for_line();
    return nothing;
}

int main(void) {
    char *guard = mmap(NULL, 64 * MIB + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(guard != MAP_FAILED);
    char *stack = guard + GUARD;
    REQUIRE(mprotect(stack, 64 * MIB, PROT_READ | PROT_WRITE) == 0);
    memset(stack + MIB, 1, 63 * MIB);
    pthread_attr_t attributes;
    pthread_t thread;
    REQUIRE(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, MIB) == 0);
    REQUIRE(pthread_create(&thread, &attributes, waits, NULL) == 0);
    say("ready");
    pthread_join(thread, NULL);
    return 0;
}
