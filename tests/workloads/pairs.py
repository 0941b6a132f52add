"""Pairs of malloc and free below ten Python frames and the native frames of ctypes.

The argument is the library of pairs.c. For each line on standard input, a count of pairs and how
many stacks take turns, the pairs are made; the answer is the nanoseconds of one.
"""

import ctypes
import sys
import threading

BLOCK_BYTES = 64

library = ctypes.CDLL(sys.argv[1])
library.pairs.restype = ctypes.c_double
library.pairs.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_size_t]


def measure(count, stacks, level):
    if level > 0:
        return measure(count, stacks, level - 1)
    return library.pairs(count, stacks, BLOCK_BYTES)


class Worker(threading.Thread):
    def run(self):
        # With this frame and the two of the thread's start: ten.
        for line in sys.stdin:
            count, stacks = line.split()
            print(measure(int(count), int(stacks), 6), flush=True)


worker = Worker()
print("ready", flush=True)
worker.start()
worker.join()
