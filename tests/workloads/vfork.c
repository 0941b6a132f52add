// A parent in uninterruptible sleep: it waits for a vforked child that waits for a line.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    char line[16];
    // The first release makes the thread's cache, and counts twice, from glibc 2.43 on.
    free(malloc(1));
    puts("ready");
    fflush(stdout);
    void *before = malloc(100);
    pid_t child = vfork();
    if (child == 0) {
        if (read(0, line, sizeof line) <= 0) _exit(1);
        _exit(0);
    }
    free(before);
    void *after = malloc(200);
    puts("done");
    fflush(stdout);
    if (read(0, line, sizeof line) <= 0) return 1;
    free(after);
    return 0;
}
