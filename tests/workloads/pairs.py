"""Pairs of malloc and free below five Python frames and the native frames of ctypes: twenty in all.

The argument is the library of pairs.c. For each line on standard input, the pairs are made; the
answer is the nanoseconds of one. A line has four numbers: pairs, stacks that take turns, and how
many Python and native frames there are to be besides.
"""

import ctypes
import sys
import threading

BLOCK_BYTES = 64

library = ctypes.CDLL(sys.argv[1])
library.pairs_below.restype = ctypes.c_double
library.pairs_below.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_size_t]


def measure(count, stacks, native, level):
    if level > 0:
        return measure(count, stacks, native, level - 1)
    return library.pairs_below(native, count, stacks, BLOCK_BYTES)


class Worker(threading.Thread):
    def run(self):
        # With this frame and the two of the thread's start: five.
        for line in sys.stdin:
            count, stacks, python, native = map(int, line.split())
            print(measure(count, stacks, native, 1 + python), flush=True)


worker = Worker()
print("ready", flush=True)
worker.start()
worker.join()
