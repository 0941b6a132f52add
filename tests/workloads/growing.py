"""Takes memory on two lines in the ratio 4:1 until it is killed."""
import sys
import time

import numpy

kept = []


def keep_tiles():
    kept.append(numpy.ones(4 << 20, dtype=numpy.uint8))


def keep_trails():
    kept.append(numpy.ones(1 << 20, dtype=numpy.uint8))


def main():
    print("ready", flush=True)
    sys.stdin.readline()
    # Both lines are there before the first look.
    while True:
        keep_tiles()
        keep_trails()
        time.sleep(0.01)


main()
