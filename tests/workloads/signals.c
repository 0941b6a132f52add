// A timer signal, a thousand times a second, whose handler allocates. The size is its own, and
// the thread's cache of it is filled in advance: then a handler may allocate even where it has
// interrupted the allocator. Needs GLIBC_TUNABLES=glibc.malloc.tcache_count=2000.
#include <signal.h>
#include <sys/time.h>
#include "workload.h"

#define HANDLED 300
#define HANDLER_SIZE 104
#define CACHED 1500

static volatile sig_atomic_t handled;
static void *kept[CACHED];
static void *volatile blocks[64];
static unsigned long busy_bytes, busy_objects;
static char other_stack[1 << 16];

static void handle(void) {
    if (handled < HANDLED) {
        // One in three is released again.
        void *block = malloc(HANDLER_SIZE);
        if (handled % 3 == 0) free(block);
        handled = handled + 1;
    }
}

FUNCTION void when_blocked(int signal) { handle(); (void)signal; }
FUNCTION void when_inside(int signal) { handle(); (void)signal; }
FUNCTION void on_another_stack(int signal) { handle(); (void)signal; }

FUNCTION void busy(int step) {
    int slot = step % 64;
    size_t size = 200 + step % 700;
    free((void *)blocks[slot]);
    blocks[slot] = malloc(size);
    busy_bytes += size;
    busy_objects++;
}

FUNCTION void rest(void) {
    for (int i = 0; i < 64; i++) {
        free((void *)blocks[i]);
        blocks[i] = NULL;
    }
}

static void set_timer(int microseconds) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    REQUIRE(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void run(void (*handler)(int), int flags, int blocks_signal) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags | SA_RESTART};
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    handled = 0;
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    set_timer(1000);
    for (int step = 0; handled < HANDLED; step++) {
        if (blocks_signal) sigprocmask(SIG_BLOCK, &alarm, NULL);
        busy(step);
        if (blocks_signal) sigprocmask(SIG_UNBLOCK, &alarm, NULL);
    }
    set_timer(0);
    rest();
}

int main(void) {
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    REQUIRE(sigaltstack(&stack, NULL) == 0);
    for (int i = 0; i < CACHED; i++) kept[i] = malloc(HANDLER_SIZE);
    for (int i = 0; i < CACHED; i++) free(kept[i]);
    say("ready");
    wait_for_line();
    run(when_blocked, 0, 1);
    run(when_inside, 0, 0);
    run(on_another_stack, SA_ONSTACK, 0);
    unsigned long values[2] = {busy_bytes, busy_objects};
    say_sums("busy", values, 2);
    say("done");
    wait_for_line();
}
