// The first thread ends; another goes on.
#include <pthread.h>
#include "workload.h"

FUNCTION void *before_the_end(void) { return malloc(1111); }
FUNCTION void *behind_the_end(void) { return malloc(2222); }

static pthread_t leader;

static void *goes_on(void *unused) {
    wait_for_line();
    before_the_end();
    say("done");
    wait_for_line();
    pthread_cancel(leader);
    pthread_join(leader, NULL);
    behind_the_end();
    say("done");
    wait_for_line();
    exit(0);
    return unused;
}

int main(void) {
    pthread_t thread;
    leader = pthread_self();
    REQUIRE(pthread_create(&thread, NULL, goes_on, NULL) == 0);
    say("ready");
    for (;;) pause();
}
