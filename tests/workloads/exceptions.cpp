// C++: every form of `new`, and exceptions thrown through frames that hold memory.
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>
#include "workload.h"

struct Wide {
    alignas(128) char bytes[384];
};

static volatile size_t huge = static_cast<size_t>(1) << 62;

extern "C" {
FUNCTION void by_new(void **kept) {
    kept[0] = new char[1001];
    kept[1] = new long(5);
    kept[2] = new Wide;
    kept[3] = new (std::nothrow) char[77];
}

FUNCTION void by_delete(void **kept) {
    delete[] static_cast<char *>(kept[0]);
    delete static_cast<long *>(kept[1]);
    delete static_cast<Wide *>(kept[2]);
}

FUNCTION void by_new_refused(void) {
    int caught = 0;
    try {
        char *volatile block = new char[huge];
        (void)block;
    } catch (const std::bad_alloc &) {
        caught = 1;
    }
    REQUIRE(caught && new (std::nothrow) char[huge] == nullptr);
}

FUNCTION void thrower(int depth) {
    std::vector<char> held(1000 + depth);
    held[depth] = 1;
    if (depth == 0) throw std::runtime_error("a text that is too long to be kept in place");
    thrower(depth - 1);
    require(held[depth] == 1, "never here");
}

FUNCTION void catcher(void) {
    for (int i = 0; i < 200; i++) {
        try {
            thrower(20);
        } catch (const std::runtime_error &error) {
            continue;
        }
        require(0, "an exception");
    }
}

FUNCTION std::map<int, std::string> *by_containers(void) {
    auto *map = new std::map<int, std::string>;
    for (int i = 0; i < 100; i++) (*map)[i] = std::string(100, 'x');
    return map;
}
}

int main() {
    void *kept[4];
    // The C++ library allocates something of its own when the first exception is thrown.
    catcher();
    say("ready");
    wait_for_line();
    by_new(kept);
    by_new_refused();
    catcher();
    auto *map = by_containers();
    say("done");
    wait_for_line();
    by_delete(kept);
    delete map;
    say("done");
    wait_for_line();
}
