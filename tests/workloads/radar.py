"""A radar compositor: five sources are brought onto one grid. The grid is made anew for every
source, and coordinates are kept in a cache that nobody clears.

`radar.py once` makes the grid once, before the loop: the fix that looks as if it saved four grids."""

import sys

import numpy as np

SIDE = 2048
SOURCES = ["dwd", "knmi", "meteofrance", "ukmo", "chmi"]
COORDINATES = {}


def build_grid():
    x, y = np.meshgrid(np.linspace(0.0, 1.0, SIDE), np.linspace(0.0, 1.0, SIDE))
    return np.column_stack([x.ravel(), y.ravel()])


def coordinates(source):
    if source not in COORDINATES:
        offset = SOURCES.index(source) * 1e-3
        COORDINATES[source] = np.arange(2 * SIDE * SIDE, dtype=np.float64) + offset
    return COORDINATES[source]


def read(source):
    return np.full((SIDE, SIDE), float(len(source)), dtype=np.float64)


def resample(source, grid):
    data = read(source)
    places = coordinates(source)
    distance = np.hypot(grid[:, 0] - places[::2], grid[:, 1] - places[1::2])
    return (data.ravel() / (1.0 + distance)).astype(np.float32)


def composite(hoisted):
    result = np.zeros(SIDE * SIDE, dtype=np.float32)
    grid = build_grid() if hoisted else None
    for source in SOURCES:
        if not hoisted:
            grid = build_grid()
        np.maximum(result, resample(source, grid), out=result)
    return result


print("ready", flush=True)
sys.stdin.readline()
image = composite("once" in sys.argv)
print("done", flush=True)
sys.stdin.readline()
