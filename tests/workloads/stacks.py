"""Allocates in as many distinct stacks of Python functions as it is told to.

A line has two numbers, stacks and allocations for each; everything stays live. The answer is the
seconds that it took.
"""

import sys
import time

# Two functions for each level: a path down has a choice at each, so that the bits of a number are a stack.
LEVELS = 17
LEVEL = """
def left{level}(path, count):
    return below{level}[path & 1](path >> 1, count)


def right{level}(path, count):
    return below{level}[path & 1](path >> 1, count)
"""
BLOCK_BYTES = 600

KEPT = []


def hold(path, count):
    # Too large for the arenas of small objects.
    KEPT.extend([bytearray(BLOCK_BYTES) for _ in range(count)])


functions = {}
for level in range(LEVELS):
    exec(compile(LEVEL.format(level=level), "<level %d>" % level, "exec"), functions)
for level in range(LEVELS):
    names = ["left%d" % (level + 1), "right%d" % (level + 1)]
    functions["below%d" % level] = [functions.get(name, hold) for name in names]
top = [functions["left0"], functions["right0"]]

print("ready", flush=True)
for line in sys.stdin:
    stacks, count = map(int, line.split())
    start = time.perf_counter()
    for path in range(stacks):
        top[path & 1](path >> 1, count)
    print(time.perf_counter() - start, flush=True)
