/* Allocates 100 blocks of SIZE in the function KEEP, and executes the other program: relay LEFT OTHER SELF. Linked at
   fixed addresses, so that the functions of both lie at the same place. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) void *KEEP(size_t size)
{
    void *block = malloc(size);
    __asm__ volatile("" ::: "memory");
    return block;
}

int main(int count, char **words)
{
    (void)count;
    int left = atoi(words[1]);
    for (int block = 0; block < 100; block++)
        KEEP(SIZE);
    if (left == 0)
        return 0;
    char next[16];
    snprintf(next, sizeof next, "%d", left - 1);
    execl(words[2], words[2], next, words[3], words[2], (char *)0);
    return 1;
}
