// An allocator with jemalloc's functions and an operator new of its own, and who uses them.
#include <new>
#include "workload.h"

// On its own pages; nothing is used again.
static char heap[1 << 22] __attribute__((aligned(4096)));
static size_t used;

static inline void *take(size_t size) {
    size_t start = __atomic_fetch_add(&used, (size + 31) / 16 * 16, __ATOMIC_RELAXED);
    if (start + size + 16 > sizeof heap) return nullptr;
    __builtin_memcpy(heap + start, &size, sizeof size);
    return heap + start + 16;
}

extern "C" {
FUNCTION void *malloc(size_t size) { return take(size); }
FUNCTION void free(void *block) { __asm__ volatile("" : : "r"(block) : "memory"); }

FUNCTION void *calloc(size_t count, size_t size) { return take(count * size); }

FUNCTION void *realloc(void *old, size_t size) {
    void *block = take(size);
    if (old && block) memcpy(block, old, size < ((size_t *)old)[-2] ? size : ((size_t *)old)[-2]);
    return block;
}

FUNCTION void *mallocx(size_t size, int flags) { return flags ? nullptr : take(size); }

FUNCTION void *rallocx(void *old, size_t size, int flags) {
    void *block = flags ? nullptr : take(size);
    if (block) memcpy(block, old, size < ((size_t *)old)[-2] ? size : ((size_t *)old)[-2]);
    return block;
}

FUNCTION void dallocx(void *block, int flags) { __asm__ volatile("" : : "r"(block), "r"(flags) : "memory"); }

FUNCTION void sdallocx(void *block, size_t size, int flags) {
    __asm__ volatile("" : : "r"(block), "r"(size), "r"(flags) : "memory");
}

static void *volatile kept;

FUNCTION void by_mallocx(void) {
    sdallocx(mallocx(1001, 0), 1001, 0);
    dallocx(mallocx(2002, 0), 0);
    kept = mallocx(3003, 0);
    REQUIRE(kept && !mallocx(1, 1));
}

FUNCTION void by_rallocx(void) {
    kept = rallocx(mallocx(500, 0), 700, 0);
    REQUIRE(kept && !rallocx(kept, 900, 1));
}

FUNCTION void by_malloc(void) {
    sdallocx(malloc(44), 44, 0);
    kept = malloc(55);
}

FUNCTION void by_new(void) {
    for (int i = 0; i < 200; i++) delete[] new char[66];
}
}

FUNCTION void *operator new(size_t size) { return take(size); }
void *operator new[](size_t size) { return take(size); }
FUNCTION void operator delete(void *block) noexcept { free(block); }
void operator delete[](void *block) noexcept { free(block); }

int main(void) {
    say("ready");
    wait_for_line();
    by_mallocx();
    by_rallocx();
    by_malloc();
    by_new();
    say("done");
    wait_for_line();
}
