"""Fills memory faster than page faults are recorded, maps some that it does not fill, and ends."""
import sys
import time

import numpy


def ones():
    return numpy.ones(100 << 20, dtype=numpy.uint8)


def texts():
    kept = []
    for _ in range(200):
        kept.append(b"x" * (300 << 10))
    return kept


def never_written():
    return numpy.empty(300 << 20, dtype=numpy.uint8)


def main():
    print("ready", flush=True)
    sys.stdin.readline()
    kept = ones(), texts(), never_written()
    # It is looked at ten times a second.
    time.sleep(1)
    print("done", flush=True)
    sys.stdin.readline()
    # All is given back before the process ends, and somebody may see it without.
    del kept
    time.sleep(0.3)


main()
