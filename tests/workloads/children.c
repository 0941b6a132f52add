// Children that allocate and release, while a thread of the parent goes on allocating.
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include "workload.h"

#define CHILDREN 40

static void *of_parent[100];
static atomic_int is_over;
static unsigned long thread_bytes, thread_objects;

FUNCTION void parent_keeps(void) {
    for (int i = 0; i < 100; i++) of_parent[i] = malloc(500 + i);
}

FUNCTION void child_keeps(void) {
    for (int i = 0; i < 100; i++) {
        if (i % 2) free(of_parent[i]);
        else of_parent[i] = realloc(of_parent[i], 5000);
        malloc(3000 + i);
    }
}

FUNCTION void thread_keeps(void) {
    size_t size = 1 + thread_objects % 100;
    malloc(size);
    thread_bytes += size;
    thread_objects++;
}

static void *goes_on(void *unused) {
    while (!is_over || thread_objects < 1000) thread_keeps();
    return unused;
}

static void wait_for(pid_t child) {
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

FUNCTION void forks(void) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        child_keeps();
        _exit(0);
    }
    wait_for(child);
}

// What shares the parent's memory allocates in it.
FUNCTION void vforks(void) {
    pid_t child = vfork();
    if (child == 0) {
        malloc(4321);
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    wait_for(child);
}

FUNCTION void spawns(void) {
    char *const arguments[] = {"/bin/true", NULL};
    pid_t child;
    REQUIRE(posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) == 0);
    wait_for(child);
}

FUNCTION void parent_goes_on(void) {
    for (int i = 0; i < 100; i += 4) free(of_parent[i]);
    malloc(60000);
}

int main(void) {
    pthread_t thread;
    say("ready");
    wait_for_line();
    parent_keeps();
    REQUIRE(pthread_create(&thread, NULL, goes_on, NULL) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        forks();
        if (i % 8 == 0) vforks(), spawns();
    }
    is_over = 1;
    pthread_join(thread, NULL);
    parent_goes_on();
    unsigned long values[2] = {thread_bytes, thread_objects};
    say_sums("thread_keeps", values, 2);
    say("done");
    wait_for_line();
}
