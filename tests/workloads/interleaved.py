"""Python that calls C that calls Python, several times over. Run by `lines.py`, which gives it
`library` and `keep`."""

import asyncio
import ctypes
import functools

import numpy as np

VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


def plain():
    outer()


def outer():
    library.call_back(visit, 3)


@VISIT
def visit(value):
    np.frompyfunc(element, 1, 1)(np.array([value], dtype=object))
    return value


def element(value):
    sorted([value], key=key_of)
    return value


def key_of(value):
    return len([next(produce())])


def produce():
    yield functools.reduce(combine, [Item(), Item()])


def combine(left, right):
    return left + right


class Item:
    def __add__(self, other):
        keep(np.empty(7_000_003, np.uint8))
        return self


def in_foreign_thread():
    library.call_back_in_thread(visit, 3)


async def waits():
    await wakes()


async def wakes():
    await asyncio.sleep(0)
    visit(3)


def in_tasks():
    asyncio.run(waits())
