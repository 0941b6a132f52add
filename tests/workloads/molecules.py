"""Workers that keep the molecules they make, and a parent in which the results pile up."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rdkit import Chem

BATCHES = 8
CACHE = []


def transform(batch):
    for size in range(300):
        CACHE.append(Chem.MolFromSmiles("C" * (20 + size % 50) + "O" * (batch + 1)))
    return b"x" * 2_000_000


def collect(method):
    results = []
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        for result in pool.map(transform, range(BATCHES)):
            results.append(result)
    return sum(map(len, results))


def main():
    assert collect(sys.argv[1]) == BATCHES * 2_000_000


if __name__ == "__main__":
    main()
