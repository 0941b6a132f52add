"""Workers of a pool, each of which keeps arrays of a known size: pools.py fork|spawn|forkserver."""

import multiprocessing
import os
import sys

import numpy as np

KEPT = []
WORKERS = 3
TASKS = 6


def load():
    KEPT.append(np.ones(4_000_000))


def keep(number):
    KEPT.append(np.ones(1_000_000))
    waste = np.ones(250_000)
    return number, os.getpid(), waste.nbytes


def work(method):
    load()
    context = multiprocessing.get_context(method)
    with context.Pool(WORKERS) as pool:
        done = pool.map(keep, range(TASKS), chunksize=1)
        pool.close()
        pool.join()
    return len(done)


def main():
    if "--wait" in sys.argv:
        print("ready", flush=True)
        sys.stdin.readline()
    assert work(sys.argv[1]) == TASKS
    if "--wait" in sys.argv:
        print("done", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
