/* A child, not the program itself, forks 60 others, of which four at a time run side by side. Each makes 200
   allocations, and lets another run after each. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) void *sibling_keeps(void)
{
    return memset(malloc(1000), 1, 1000);
}

static int sibling(void)
{
    for (int block = 0; block < 200; block++) {
        sibling_keeps();
        sched_yield();
    }
    return 0;
}

static int child(void)
{
    for (int number = 0; number < 60; number++) {
        if (number >= 4)
            wait(0);
        if (fork() == 0)
            _exit(sibling());
    }
    while (wait(0) > 0)
        ;
    return 0;
}

int main(void)
{
    if (fork() == 0)
        _exit(child());
    wait(0);
    return 0;
}
