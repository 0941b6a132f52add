// Loads the library that its argument names, uses it and unloads it, twice.
#include <dlfcn.h>
#include "workload.h"

FUNCTION void overwritten_calls(void *(*allocate)(void)) { REQUIRE(allocate() != NULL); }

int main(int argc, char **argv) {
    REQUIRE(argc == 2);
    say("ready"), wait_for_line();
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(argv[1], RTLD_NOW);
        REQUIRE(library != NULL);
        say("done"), wait_for_line();
        overwritten_calls((void *(*)(void))dlsym(library, "content_allocates"));
        dlclose(library);
        say("done"), wait_for_line();
    }
}
