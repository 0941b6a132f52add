// A static program without a C library; its allocator has a name that nobody knows.
static char heap[1 << 16];
static unsigned long used;

static long call(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((noinline)) static char *take(unsigned long size) {
    used += size;
    return heap + used - size;
}

void _start(void) {
    char *word = take(6);
    for (int i = 0; i < 6; i++) word[i] = "ready\n"[i];
    call(1, 1, (long)word, 6);
    for (;;) {
        take(16);
        if (call(0, 0, (long)heap, 16) <= 0) call(60, 0, 0, 0);
    }
}
