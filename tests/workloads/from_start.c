// Allocates in a constructor, in main, and after a helper was started with vfork; ends with the
// code that it was given.
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;
static void *places[3];

__attribute__((noinline)) void keep(int place, size_t size) {
    places[place] = malloc(size);
    __asm__ volatile("" ::: "memory");
}

__attribute__((constructor)) static void before_main(void) {
    keep(0, 1111);
}

int main(int argc, char **argv) {
    keep(1, 2222);
    char *arguments[] = {"true", NULL};
    pid_t helper;
    int status;
    if (posix_spawn(&helper, "/bin/true", NULL, NULL, arguments, environ)) return 99;
    if (waitpid(helper, &status, 0) != helper || status) return 98;
    keep(2, 3333);
    return argc > 1 ? atoi(argv[1]) : 0;
}
