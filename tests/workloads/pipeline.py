"""A Dask client that pulls a whole frame into its own process, and copies it."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster

ROWS = 2_000_000


def part(number):
    return pd.DataFrame({"x": np.full(ROWS, float(number)), "y": np.arange(ROWS)})


def materialise(frame):
    return frame.compute()


def duplicate(frame):
    return frame.copy()


def main():
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster):
            frame = dd.from_map(part, range(4))
            whole = materialise(frame)
            second = duplicate(whole)
            assert len(whole) == len(second) == 4 * ROWS


if __name__ == "__main__":
    main()
