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


def by_duckdb():
    connection = duckdb.connect()
    connection.execute("set threads to 1")
    connection.execute("create table t as select range x, range::varchar y from range(500000)")
    KEPT.append(connection)


print("ready", flush=True)
sys.stdin.readline()
by_mimalloc()
by_jemalloc()
by_system()
resized()
by_polars()
by_duckdb()
print("done", flush=True)
sys.stdin.readline()
