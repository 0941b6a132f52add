// Allocates three blocks and releases one.
#include <stdio.h>
#include <stdlib.h>

static void wait_for_line(void) {
    char line[16];
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

__attribute__((noinline)) void keep(void **place, size_t size) {
    *place = malloc(size);
    __asm__ volatile("" ::: "memory");
}

int main(void) {
    static void *places[3];
    // The stream's buffers are allocated before tracing.
    say("warming up");
    say("ready");
    wait_for_line();
    keep(&places[0], 1000);
    keep(&places[1], 2000);
    keep(&places[2], 300);
    free(places[2]);
    say("done");
    wait_for_line();
}
