// Becomes itself again a number of times, and dies. The argument is how many lives are left.
#include "workload.h"

FUNCTION void *keep(size_t size) { return malloc(size); }

int main(int argc, char **argv) {
    if (argc <= 1) say("ready"), wait_for_line();
    int left = argc > 1 ? atoi(argv[1]) : 20;
    for (int i = 0; i < 100; i++) keep(1000);
    if (left == 0) return 0;
    char number[16];
    snprintf(number, sizeof number, "%d", left - 1);
    execl("/proc/self/exe", argv[0], number, NULL);
    return 1;
}
