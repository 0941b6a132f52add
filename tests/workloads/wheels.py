"""Memory of allocators that are linked into wheels."""

import sys

import duckdb
import polars
import pyarrow

KEPT = []


def by_mimalloc():
    KEPT.append(pyarrow.allocate_buffer(30_000_000, memory_pool=pyarrow.mimalloc_memory_pool()))


def by_jemalloc():
    KEPT.append(pyarrow.allocate_buffer(20_000_000, memory_pool=pyarrow.jemalloc_memory_pool()))


def by_system():
    KEPT.append(pyarrow.allocate_buffer(10_000_000, memory_pool=pyarrow.system_memory_pool()))


def resized():
    buffer = pyarrow.allocate_buffer(
        1_000_000, memory_pool=pyarrow.jemalloc_memory_pool(), resizable=True
    )
    buffer.resize(7_000_000)
    KEPT.append(buffer)


def by_polars():
    KEPT.append(polars.DataFrame({"a": polars.int_range(0, 5_000_000, eager=True)}))


CONNECTION = duckdb.connect()
CONNECTION.execute("set threads to 1")
ROWS = "select range::bigint * 7919 as i, random() as r from range(2000000)"


def table_one():
    CONNECTION.execute(f"create table one as {ROWS}")


def table_two():
    CONNECTION.execute(f"create table two as {ROWS}")


print("ready", flush=True)
sys.stdin.readline()
by_mimalloc()
by_jemalloc()
by_system()
resized()
by_polars()
table_one()
CONNECTION.execute("drop table one")
table_two()
print("done", flush=True)
sys.stdin.readline()
