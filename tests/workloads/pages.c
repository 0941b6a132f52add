// Maps, touches a part of it, unmaps, maps over, moves, gives back and forks, in a known order. Then
// it counts in its own page map how many pages each function owns: those that it touched first.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "workload.h"

enum { PAGE = 4096, MOST = 64, FUNCTIONS = 4 };

static uint64_t zeros;
static unsigned long bytes[FUNCTIONS];

static void touch(char *memory, int from, int to) {
    for (int page = from; page < to; page++) ((volatile char *)memory)[page * PAGE] = 1;
}

FUNCTION void touch_first(char *memory, int from, int to) { touch(memory, from, to); }
FUNCTION void touch_second(char *memory, int from, int to) { touch(memory, from, to); }
FUNCTION void touch_third(char *memory, int from, int to) { touch(memory, from, to); }

// The kernel touches these pages on behalf of the function.
FUNCTION void touch_in_kernel(char *memory, int pages) {
    int file = open("/dev/zero", O_RDONLY);
    REQUIRE(read(file, memory, (size_t)pages * PAGE) == (ssize_t)pages * PAGE);
    close(file);
}

static char *map_at(char *address, int pages, int flags) {
    char *memory = mmap(address, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

static char *map(int pages) { return map_at(NULL, pages, MAP_PRIVATE | MAP_ANONYMOUS); }

static void read_entries(const char *memory, int pages, uint64_t *entries) {
    static int file = -1;
    if (file < 0) file = open("/proc/self/pagemap", O_RDONLY);
    size_t size = pages * sizeof *entries;
    off_t offset = (uintptr_t)memory / PAGE * sizeof *entries;
    REQUIRE(pread(file, entries, size, offset) == (ssize_t)size);
}

// Pages that are present, those of zeros excluded, belong to a function.
static int count(int function, const char *memory, int from, int to) {
    uint64_t entries[MOST];
    read_entries(memory + from * PAGE, to - from, entries);
    int present = 0;
    for (int page = 0; page < to - from; page++) {
        int is_zeros = (entries[page] & ((1UL << 55) - 1)) == zeros;
        present += entries[page] >> 63 && !is_zeros;
    }
    bytes[function] += (unsigned long)present * PAGE;
    return present;
}

static void find_zeros(void) {
    char *memory = map(1);
    uint64_t entry;
    (void)*(volatile char *)memory;
    read_entries(memory, 1, &entry);
    zeros = entry & ((1UL << 55) - 1);
    munmap(memory, PAGE);
}

// Unmapped in the middle, given back, touched again by another.
FUNCTION char *parts(void) {
    char *memory = map(64);
    touch_first(memory, 0, 20);
    touch_second(memory, 20, 50);
    munmap(memory + 10 * PAGE, 5 * PAGE);
    madvise(memory + 30 * PAGE, 5 * PAGE, MADV_DONTNEED);
    touch_third(memory, 32, 34);
    // Whose page it is does not change.
    touch_third(memory, 0, 5);
    return memory;
}

// Moved to another place, with others at the old one.
FUNCTION char *moved(char **old) {
    *old = map(40);
    touch_first(*old, 0, 30);
    char *place = map(64);
    char *memory = mremap(*old, 40 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    REQUIRE(memory == place);
    touch_second(memory, 40, 60);
    map_at(*old, 40, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
    touch_third(*old, 3, 10);
    return memory;
}

FUNCTION char *replaced(void) {
    char *memory = map(30);
    touch_first(memory, 0, 30);
    map_at(memory + 10 * PAGE, 10, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
    touch_second(memory, 12, 17);
    return memory;
}

FUNCTION char *heap(void) {
    char *memory = sbrk(0);
    memory += (PAGE - (uintptr_t)memory % PAGE) % PAGE;
    REQUIRE(brk(memory + 50 * PAGE) == 0);
    touch_third(memory, 0, 40);
    REQUIRE(brk(memory + 30 * PAGE) == 0);
    return memory;
}

// The child's pages are its own; a page of which the parent writes its copy is still the first one's.
FUNCTION char *forked(void) {
    char *memory = map(20);
    touch_first(memory, 0, 15);
    pid_t child = fork();
    if (child == 0) {
        touch_second(memory, 5, 20);
        _exit(0);
    }
    touch_third(memory, 0, 3);
    REQUIRE(waitpid(child, NULL, 0) == child);
    touch_third(memory, 15, 17);
    return memory;
}

FUNCTION char *shared(void) {
    char *memory = map_at(NULL, 25, MAP_SHARED | MAP_ANONYMOUS);
    touch_second(memory, 0, 12);
    return memory;
}

FUNCTION char *only_read(void) {
    char *memory = map(10);
    for (int page = 0; page < 8; page++) (void)((volatile char *)memory)[page * PAGE];
    touch_first(memory, 8, 10);
    return memory;
}

int main(void) {
    find_zeros();
    say("ready");
    wait_for_line();
    char *old, *memory = parts();
    REQUIRE(count(0, memory, 0, 10) + count(0, memory, 15, 20) == 15);
    REQUIRE(count(1, memory, 20, 32) + count(1, memory, 34, 50) == 25);
    REQUIRE(count(2, memory, 32, 34) == 2);
    memory = moved(&old);
    REQUIRE(count(0, memory, 0, 40) == 30 && count(1, memory, 40, 64) == 20);
    REQUIRE(count(2, old, 0, 40) == 7);
    memory = replaced();
    REQUIRE(count(0, memory, 0, 10) + count(0, memory, 20, 30) == 20 && count(1, memory, 10, 20) == 5);
    REQUIRE(count(2, heap(), 0, 30) == 30);
    memory = forked();
    REQUIRE(count(0, memory, 0, 15) == 15 && count(2, memory, 15, 20) == 2);
    REQUIRE(count(1, shared(), 0, 25) == 12);
    REQUIRE(count(0, only_read(), 0, 10) == 2);
    memory = map(9);
    touch_in_kernel(memory, 9);
    REQUIRE(count(3, memory, 0, 9) == 9);
    const char *const names[FUNCTIONS] = {"touch_first", "touch_second", "touch_third", "touch_in_kernel"};
    for (int i = 0; i < FUNCTIONS; i++) say_sums(names[i], &bytes[i], 1);
    say("done");
    wait_for_line();
    return 0;
}
