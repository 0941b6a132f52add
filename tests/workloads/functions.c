// Every allocating function of glibc, each called from a function of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include "workload.h"

// Not a constant, so that the compiler does not know better.
static volatile size_t huge = (size_t)PTRDIFF_MAX + 1;

static void *kept[64];
static int kept_count;
static void *early[8];

static void keep(void *pointer) { kept[kept_count++] = pointer; }

FUNCTION void by_malloc(void) {
    keep(malloc(1001));
    free(malloc(17));
}

FUNCTION void by_malloc_of_nothing(void) { keep(malloc(0)); }

FUNCTION void by_malloc_huge(void) { REQUIRE(malloc(huge) == NULL && errno == ENOMEM); }

FUNCTION void by_calloc(void) { keep(calloc(7, 11)); }

FUNCTION void by_calloc_overflow(void) { REQUIRE(calloc(1UL << 33, 1UL << 33) == NULL); }

FUNCTION void by_realloc_of_null(void) { keep(realloc(NULL, 500)); }

FUNCTION void by_realloc_in_place(void) {
    void *block = malloc(4000);
    uintptr_t before = (uintptr_t)block;
    block = realloc(block, 3990);
    REQUIRE((uintptr_t)block == before);
    keep(block);
}

FUNCTION void by_realloc_moved(void) {
    void *block = malloc(100), *guard = malloc(101);
    uintptr_t before = (uintptr_t)block;
    block = realloc(block, 50000);
    REQUIRE((uintptr_t)block != before);
    keep(block);
    free(guard);
}

// Mapped of its own, then remapped, then copied into the heap.
FUNCTION void by_realloc_of_mapping(void) {
    void *block = malloc(1 << 20);
    block = realloc(block, 8 << 20);
    block = realloc(block, 2000);
    keep(realloc(block, 3 << 20));
}

FUNCTION void by_realloc_to_nothing(void) { REQUIRE(realloc(malloc(600), 0) == NULL); }

FUNCTION void by_realloc_huge(void) {
    void *block = malloc(700);
    REQUIRE(realloc(block, huge) == NULL);
    keep(block);
}

FUNCTION void by_reallocarray(void) {
    void *block = reallocarray(NULL, 10, 30);
    keep(reallocarray(block, 20, 31));
}

// The product is 0 modulo 2^64: not to be mistaken for a release.
FUNCTION void by_reallocarray_overflow(void) {
    void *block = malloc(800);
    REQUIRE(reallocarray(block, 1UL << 32, 1UL << 32) == NULL && errno == ENOMEM);
    keep(block);
}

FUNCTION void by_reallocarray_to_nothing(void) { REQUIRE(reallocarray(malloc(55), 0, 10) == NULL); }

FUNCTION void by_posix_memalign(void) {
    void *block = NULL;
    REQUIRE(posix_memalign(&block, 64, 900) == 0);
    keep(block);
}

FUNCTION void by_posix_memalign_refused(void) {
    void *block = (void *)42;
    REQUIRE(posix_memalign(&block, 3, 900) == EINVAL && block == (void *)42);
    REQUIRE(posix_memalign(&block, 64, huge) == ENOMEM);
}

FUNCTION void by_aligned_alloc(void) { keep(aligned_alloc(128, 1280)); }

FUNCTION void by_memalign(void) { keep(memalign(256, 1100)); }

FUNCTION void by_memalign_huge(void) { REQUIRE(memalign(256, huge) == NULL); }

FUNCTION void by_valloc(void) { keep(valloc(1200)); }

FUNCTION void by_pvalloc(void) { keep(pvalloc(1300)); }

FUNCTION void by_free_of_null(void) {
    for (int i = 0; i < 10; i++) free(NULL);
}

FUNCTION void of_before(void) {
    for (int i = 0; i < 4; i++) free(early[i]);
    early[4] = realloc(early[4], 321);
    REQUIRE(realloc(early[5], 0) == NULL);
    REQUIRE(realloc(early[6], huge) == NULL);
}

FUNCTION void at_the_top(void) { free(malloc(16 << 20)); }

FUNCTION void after_the_top(void) {
    // Every second one goes, in the order in which they came.
    for (int i = 0; i < kept_count; i += 2) free(kept[i]);
}

int main(void) {
    for (int i = 0; i < 8; i++) early[i] = malloc(100 + i);
    free(early[7]);
    say("ready");
    wait_for_line();
    by_malloc();
    by_malloc_of_nothing();
    by_malloc_huge();
    by_calloc();
    by_calloc_overflow();
    by_realloc_of_null();
    by_realloc_in_place();
    by_realloc_moved();
    by_realloc_of_mapping();
    by_realloc_to_nothing();
    by_realloc_huge();
    by_reallocarray();
    by_reallocarray_overflow();
    by_reallocarray_to_nothing();
    by_posix_memalign();
    by_posix_memalign_refused();
    by_aligned_alloc();
    by_memalign();
    by_memalign_huge();
    by_valloc();
    by_pvalloc();
    by_free_of_null();
    of_before();
    at_the_top();
    after_the_top();
    say("done");
    wait_for_line();
}
