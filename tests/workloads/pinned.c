// Small blocks that stay between large ones that go: those from before and those from after `go`.
#include "workload.h"

#define EARLY 5000
#define LATE 20000

static void *keep[EARLY + LATE], *fill[EARLY + LATE];

FUNCTION static void *keep_early(void) { return malloc(200); }
FUNCTION static void *keep_late(void) { return malloc(200); }
FUNCTION static void *fill_up(void) { return malloc(3000); }

static void alternate(int from, int to, void *(*keeper)(void)) {
    for (int i = from; i < to; i++) {
        keep[i] = keeper();
        fill[i] = fill_up();
        REQUIRE(keep[i] != NULL && fill[i] != NULL);
        memset(keep[i], 1, 200);
        memset(fill[i], 1, 3000);
    }
    for (int i = from; i < to; i++) free(fill[i]);
}

int main(void) {
    alternate(0, EARLY, keep_early);
    say("ready");
    wait_for_line();
    alternate(EARLY, EARLY + LATE, keep_late);
    say("done");
    wait_for_line();
    return 0;
}
