// Sixty-four threads, each with functions of its own, allocate at stacks of changing depth.
#include <pthread.h>
#include "workload.h"

#define ROUNDS 400
#define KEPT 16

static void *kept[64][KEPT];

// What a thread keeps in the end: block `i` of thread `t` has 1000 * t + i + 1 bytes.
#define THREAD(number)                                                                 \
    FUNCTION void *leaf_##number(size_t size) { return malloc(size); }                 \
    FUNCTION void *step_##number(int depth, size_t size) {                             \
        void *block = depth > 0 ? step_##number(depth - 1, size) : leaf_##number(size); \
        __asm__ volatile("" ::: "memory");                                             \
        return block;                                                                  \
    }                                                                                  \
    FUNCTION void *thread_##number(void *argument) {                                   \
        for (int round = 0; round < ROUNDS; round++) {                                 \
            int place = round % KEPT;                                                  \
            free(kept[number][place]);                                                 \
            kept[number][place] = step_##number(round % 23, 1000 * number + place + 1); \
        }                                                                              \
        return argument;                                                               \
    }
#define THREADS(each)                                                                          \
    each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10)   \
    each(11) each(12) each(13) each(14) each(15) each(16) each(17) each(18) each(19) each(20)  \
    each(21) each(22) each(23) each(24) each(25) each(26) each(27) each(28) each(29) each(30)  \
    each(31) each(32) each(33) each(34) each(35) each(36) each(37) each(38) each(39) each(40)  \
    each(41) each(42) each(43) each(44) each(45) each(46) each(47) each(48) each(49) each(50)  \
    each(51) each(52) each(53) each(54) each(55) each(56) each(57) each(58) each(59) each(60)  \
    each(61) each(62) each(63)
THREADS(THREAD)

#define NAME(number) thread_##number,
static void *(*const threads[])(void *) = {THREADS(NAME)};

int main(void) {
    pthread_t ids[64];
    say("ready");
    wait_for_line();
    for (int i = 0; i < 64; i++) pthread_create(&ids[i], NULL, threads[i], NULL);
    for (int i = 0; i < 64; i++) pthread_join(ids[i], NULL);
    say("done");
    wait_for_line();
}
