// Uses a library, then another one that comes to lie where it was.
#include <dlfcn.h>
#include "workload.h"

typedef void *(*Keep)(size_t);

FUNCTION void keep_blocks(Keep keep, size_t size) {
    for (int i = 0; i < 100; i++) keep(size);
}

static Keep load(const char *file, void **library) {
    *library = dlopen(file, RTLD_NOW);
    REQUIRE(*library != NULL);
    return (Keep)dlsym(*library, "keep");
}

int main(int argc, char **argv) {
    void *library;
    REQUIRE(argc == 3);
    say("ready"), wait_for_line();
    Keep first = load(argv[1], &library);
    say("done"), wait_for_line();
    keep_blocks(first, 13000);
    say("done"), wait_for_line();
    dlclose(library);
    Keep second = load(argv[2], &library);
    REQUIRE(((size_t)first & ~4095UL) == ((size_t)second & ~4095UL));
    keep_blocks(second, 15000);
    say("done"), wait_for_line();
    keep_blocks(second, 15000);
    say("done"), wait_for_line();
}
