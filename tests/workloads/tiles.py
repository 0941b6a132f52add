"""A tile engine: arrays live in shared memory until a context manager closes. Without any decorator it
should be told which line keeps what alive, inside and after it."""

import sys
from contextlib import contextmanager
from multiprocessing import shared_memory

import numpy as np

SIDE = 1024
BANDS = 6


@contextmanager
def tiles():
    segments = []

    def make(shape):
        size = int(np.prod(shape)) * 4
        segment = shared_memory.SharedMemory(create=True, size=size)
        segments.append(segment)
        return np.ndarray(shape, dtype=np.float32, buffer=segment.buf)

    try:
        yield make
    finally:
        for segment in segments:
            # Views of the buffer may still be there; the segment goes all the same.
            segment.unlink()
            segment._buf = None
            segment._mmap = None


def read_band(make, number):
    band = make((SIDE, SIDE))
    band[:] = number
    return band


def run():
    with tiles() as make:
        bands = [read_band(make, number) for number in range(BANDS)]
        total = np.sum(bands, axis=0)
        print("done", flush=True)
        sys.stdin.readline()
        bands.clear()
    return total


print("ready", flush=True)
sys.stdin.readline()
result = run()
print("done", flush=True)
sys.stdin.readline()
