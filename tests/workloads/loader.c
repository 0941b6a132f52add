// Loads the library that its argument names. With `alone` it waits for nobody.
#include <dlfcn.h>
#include "workload.h"

FUNCTION void loader_calls(void *(*allocate)(size_t)) { allocate(5003); }

int main(int argc, char **argv) {
    int waits = argc < 3;
    if (waits) say("ready"), wait_for_line();
    void *plugin = dlopen(argv[1], RTLD_NOW);
    REQUIRE(plugin != NULL);
    if (waits) say("done"), wait_for_line();
    loader_calls((void *(*)(size_t))dlsym(plugin, "plugin_allocates"));
    dlclose(plugin);
    if (waits) say("done"), wait_for_line();
}
