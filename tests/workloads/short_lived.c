// Starts processes that end at once, as many a second as it is told, for as many seconds; a machine
// that cannot keep up takes longer for them.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    double rate = atof(arguments[1]), seconds = atof(arguments[2]);
    char *command[] = {"/bin/true", NULL};
    char line[16];
    long started = 0;
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    double start = now();
    while (started < rate * seconds) {
        pid_t child;
        if (posix_spawn(&child, command[0], NULL, NULL, command, environ)) return 1;
        waitpid(child, NULL, 0);
        started++;
        while (started > (now() - start) * rate) usleep(1000);
    }
    printf("sum started %ld\ndone\n", started);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) == NULL;
}
