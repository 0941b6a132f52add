// Holds as many live allocations as it is told to, in four stacks; answers with the nanoseconds of
// each.
#include <time.h>
#include "workload.h"

enum { BLOCK_BYTES = 16 };

FUNCTION static void *first(void) { return malloc(BLOCK_BYTES); }
FUNCTION static void *second(void) { return malloc(BLOCK_BYTES); }
FUNCTION static void *third(void) { return malloc(BLOCK_BYTES); }
FUNCTION static void *fourth(void) { return malloc(BLOCK_BYTES); }

static void *(*const callers[])(void) = {first, second, third, fourth};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// The blocks stay live without being remembered; only the tracer knows where they are.
static double hold(long count) {
    double start = now();
    for (long i = 0; i < count; i++) REQUIRE(callers[i & 3]() != NULL);
    return (now() - start) / count;
}

int main(void) {
    char line[64];
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        char answer[64];
        snprintf(answer, sizeof answer, "%.1f", hold(strtol(line, NULL, 10)));
        say(answer);
    }
}
