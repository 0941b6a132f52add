// A tree of processes that all hold blocks: forked, forked by a thread, spawned and executed.
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "workload.h"

extern char **environ;

static void *kept[512];

FUNCTION static void parent_keeps(void) {
    for (int i = 0; i < 100; i++) kept[i] = malloc(1000);
}

FUNCTION static void child_keeps(void) {
    for (int i = 0; i < 50; i++) kept[100 + i] = malloc(777);
    free(kept[0]);
    free(kept[100]);
}

FUNCTION static void grandchild_keeps(void) { kept[200] = malloc(4321); }

FUNCTION static void thread_child_keeps(void) { kept[201] = malloc(2468); }

FUNCTION static void program_keeps(void) { kept[202] = malloc(54321); }

static void wait_for_all(void) {
    while (waitpid(-1, NULL, 0) > 0) {}
}

static void fork_child(int has_child) {
    if (fork() != 0) return;
    child_keeps();
    if (has_child && fork() == 0) {
        grandchild_keeps();
        _exit(0);
    }
    wait_for_all();
    _exit(0);
}

static void *fork_from_thread(void *unused) {
    if (fork() == 0) {
        thread_child_keeps();
        _exit(0);
    }
    return unused;
}

static void run_program(const char *program) {
    char *arguments[] = {(char *)program, "program", NULL};
    pid_t pid;
    posix_spawn(&pid, program, NULL, NULL, arguments, environ);
    if (vfork() == 0) {
        execv(program, arguments);
        _exit(1);
    }
    if (fork() == 0) {
        execv(program, arguments);
        _exit(1);
    }
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "program") == 0) {
        program_keeps();
        return 0;
    }
    int is_alone = count > 1;
    if (!is_alone) {
        say("ready");
        wait_for_line();
    }
    parent_keeps();
    for (int i = 0; i < 3; i++) fork_child(i == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, fork_from_thread, NULL);
    pthread_join(thread, NULL);
    run_program(arguments[0]);
    wait_for_all();
    if (!is_alone) {
        say("done");
        wait_for_line();
    }
    return 7;
}
