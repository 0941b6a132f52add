// A library that allocates when it is loaded, when it is used and when it is unloaded.
#include <stdlib.h>

#define FUNCTION __attribute__((noipa, noinline))

static void *early;
static void *of_constructor;

FUNCTION void plugin_constructor_allocates(void) {
    of_constructor = malloc(4001);
    early = malloc(4002);
}

FUNCTION void *plugin_allocates(size_t size) { return malloc(size); }

__attribute__((constructor)) static void load(void) { plugin_constructor_allocates(); }
__attribute__((destructor)) static void unload(void) { free(early); }
