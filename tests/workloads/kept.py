"""Keeps blocks among many that it does not, on pages that are touched faster than that is recorded."""
import sys

import numpy

SIZE = 50_000
kept = []


def keep():
    return numpy.ones(SIZE)


def scratch(more):
    return numpy.full(SIZE + more, 3.0)


print("ready", flush=True)
sys.stdin.readline()
for turn in range(300):
    kept.append(keep())
    for more in range(8):
        last = scratch(7 * more)
    last = scratch(6 * SIZE)
print("done", flush=True)
sys.stdin.readline()
