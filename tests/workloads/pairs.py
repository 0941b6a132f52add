"""Pairs of malloc and free below ten Python frames and the native frames of ctypes.

The argument is the library of pairs.c. For each line with a count on standard input, that many
pairs are made; the answer is the nanoseconds of one.
"""

import ctypes
import sys
import threading

BLOCK_BYTES = 64

library = ctypes.CDLL(sys.argv[1])
library.nested.restype = ctypes.c_double
library.nested.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_size_t]


def measure(count, level):
    if level > 0:
        return measure(count, level - 1)
    return library.nested(0, count, BLOCK_BYTES)


class Worker(threading.Thread):
    def run(self):
        # With this frame and the two of the thread's start: ten.
        for line in sys.stdin:
            print(measure(int(line), 6), flush=True)


worker = Worker()
print("ready", flush=True)
worker.start()
worker.join()
