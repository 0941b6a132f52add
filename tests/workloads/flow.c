// Allocations at the end of unusual ways through a program: inside the C library, past a
// `longjmp`, and far down a recursion.
#define _GNU_SOURCE
#include <dirent.h>
#include <setjmp.h>
#include "workload.h"

static void *kept[32];
static int kept_count;

static void keep(void *pointer) { kept[kept_count++] = pointer; }

FUNCTION void by_strdup(const char *text) {
    keep(strdup(text));
    keep(strndup(text, 50));
}

FUNCTION void by_asprintf(void) {
    char *text;
    REQUIRE(asprintf(&text, "%0500d", 1) == 500);
    keep(text);
}

FUNCTION unsigned long by_getline(FILE *lines) {
    char *line = NULL;
    size_t size = 0;
    REQUIRE(getline(&line, &size, lines) == 5001);
    keep(line);
    return size;
}

FUNCTION void by_fopen(void) {
    FILE *file = fopen("/proc/self/status", "r");
    REQUIRE(fgetc(file) != EOF);
    fclose(file);
}

FUNCTION void by_open_memstream(void) {
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    for (int i = 0; i < 10000; i++) fputc('x', stream);
    fclose(stream);
    keep(text);
}

static int compare(const void *left, const void *right) {
    return *(const int *)left - *(const int *)right;
}

FUNCTION void by_qsort(void) {
    static int numbers[30000];
    for (int i = 0; i < 30000; i++) numbers[i] = i * 7919 % 30000;
    qsort(numbers, 30000, sizeof *numbers, compare);
}

FUNCTION void by_opendir(void) {
    DIR *directory = opendir("/");
    REQUIRE(readdir(directory) != NULL);
    closedir(directory);
}

static jmp_buf start;

FUNCTION void jumper(int depth) {
    keep(malloc(1000 + depth));
    if (depth == 4) longjmp(start, 1);
    jumper(depth + 1);
    require(0, "never here");
}

// Five blocks of jumper's, and one of its own behind the jump.
FUNCTION void jumped_over(void) {
    if (setjmp(start) == 0) jumper(0);
    keep(malloc(11));
}

FUNCTION int descend(int depth) {
    if (depth == 0) {
        keep(malloc(12345));
        return 0;
    }
    return descend(depth - 1) + 1;
}

FUNCTION void shallow(void) { REQUIRE(descend(400) == 400); }
FUNCTION void deep(void) { REQUIRE(descend(700) == 700); }

static FILE *long_line(void) {
    static char text[5002];
    memset(text, 'y', 5000);
    text[5000] = '\n';
    return fmemopen(text, 5001, "r");
}

int main(void) {
    FILE *lines = long_line();
    REQUIRE(fgetc(lines) == 'y' && ungetc('y', lines) == 'y');
    make_cache();
    say("ready");
    wait_for_line();
    char text[100] = {0};
    memset(text, 'z', 99);
    by_strdup(text);
    by_asprintf();
    unsigned long size = by_getline(lines);
    by_fopen();
    by_open_memstream();
    by_qsort();
    by_opendir();
    jumped_over();
    shallow();
    deep();
    say_sums("by_getline", &size, 1);
    say("done");
    wait_for_line();
}
