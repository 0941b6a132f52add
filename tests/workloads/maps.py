"""A pool of workers that render maps and never close their figures: maps.py fork|spawn|forkserver."""

import multiprocessing
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

WORKERS = 2
MAPS = 6


def render(number):
    figure = plt.figure(figsize=(10, 10), dpi=100)
    axes = figure.add_subplot()
    axes.imshow(np.full((500, 500), float(number)))
    figure.canvas.draw()


def main():
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(WORKERS) as pool:
        pool.map(render, range(MAPS), chunksize=1)
        pool.close()
        pool.join()


if __name__ == "__main__":
    main()
