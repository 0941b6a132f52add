"""One of four workloads, named by the argument, that time themselves: `cargo xtask bench overhead`.

Works once to warm up, and says when it is ready; for each line of its standard input it works again,
and answers with the seconds that the work took.
"""

import sys
import time


def small_temporaries():
    """400,000 NumPy temporaries of 4 KiB, each one malloc and one free."""
    import numpy

    array = numpy.ones(512)

    def work():
        for _ in range(400_000):
            array + 1.0

    return work


def large_temporaries():
    """NumPy temporaries of 64 MiB, each mapped, filled and unmapped: page faults, few mallocs."""
    import numpy

    array = numpy.ones(8 << 20)

    def work():
        for _ in range(64):
            array + 1.0

    return work


def objects():
    """Three million small Python objects, which CPython takes from arenas of its own, three times."""

    def work():
        for _ in range(3):
            kept = [float(number) for number in range(3_000_000)]
        return kept

    return work


def frames():
    """groupby, merge and astype of pandas: with PYTHONMALLOC=malloc, two million small mallocs."""
    import numpy
    import pandas

    generator = numpy.random.default_rng(1)
    rows = 500_000
    sales = pandas.DataFrame(
        {
            "shop": generator.integers(0, 2_000, rows),
            "item": generator.integers(0, 20_000, rows),
            "price": generator.random(rows),
        }
    )

    def work():
        items = sales.groupby("item", as_index=False).agg({"price": ["mean", "max"], "shop": "nunique"})
        items.columns = ["item", "mean", "highest", "shops"]
        merged = sales.merge(items, on="item").astype({"shop": str, "price": "float32"})
        merged["label"] = (merged["shop"] + "-" + merged["item"].astype(str)).astype("category")
        return merged.groupby("shop").apply(lambda group: (group["price"] / group["mean"]).sum())

    return work


WORKLOADS = {work.__name__: work for work in [small_temporaries, large_temporaries, objects, frames]}

work = WORKLOADS[sys.argv[1]]()
work()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    kept = work()
    print(time.perf_counter() - start, flush=True)
