// Becomes another program: itself, with an argument. With `alone` it waits for nobody.
#include "workload.h"

FUNCTION void *first_program(void) { return malloc(1234); }
FUNCTION void *second_program(void) { return malloc(56789); }

int main(int argc, char **argv) {
    int is_second = argc > 1 && strncmp(argv[1], "second", 6) == 0;
    int waits = argc <= 1 || strcmp(argv[1], "second") == 0;
    if (waits) say("ready"), wait_for_line();
    if (is_second) {
        second_program();
    } else {
        first_program();
        execl("/proc/self/exe", argv[0], waits ? "second" : "second alone", NULL);
        return 1;
    }
    if (waits) say("done"), wait_for_line();
    return 7;
}
