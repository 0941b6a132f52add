// What every workload in C needs: to wait for its test without allocating anything.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A function whose frame is on the stack while what it calls runs.
#define FUNCTION __attribute__((noipa, noinline))

// From glibc 2.43 on a thread has its cache from its first release on, which takes memory behind all
// blocks of before, and then begins anew.
static inline void make_cache(void) { free(malloc(1)); }

static inline void say(const char *line) {
    char text[256];
    int size = snprintf(text, sizeof text, "%s\n", line);
    if (write(1, text, size) != size) _exit(1);
}

static inline void wait_for_line(void) {
    char byte;
    do {
        if (read(0, &byte, 1) != 1) _exit(1);
    } while (byte != '\n');
}

// Says what a function has done: the test reads `sum NAME VALUE ...`.
static inline void say_sums(const char *name, const unsigned long *values, int count) {
    char line[250];
    int used = snprintf(line, sizeof line, "sum %s", name);
    for (int i = 0; i < count; i++) used += snprintf(line + used, sizeof line - used, " %lu", values[i]);
    say(line);
}

static inline void require(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "the workload expects: %s\n", what);
    _exit(2);
}
#define REQUIRE(condition) require(condition, #condition)
