"""The same allocations again and again, each of its own size: at least 100,000 bytes.

A line on the standard input starts a round. One allocation of MARKER bytes ends it.
"""

import array
import ctypes
import functools
import io
import json
import pickle
import struct
import sys
import zlib

import numpy as np

MARKER = 123_456_789
KEPT = []
library = ctypes.CDLL(sys.argv[1])
library.take.argtypes = [ctypes.c_size_t]
library.take.restype = ctypes.c_void_p
library.give_back.restype = None
library.give_back.argtypes = [ctypes.c_void_p]
VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
matrix = np.arange(90_000, dtype=np.float64).reshape(300, 300) % 7 + np.eye(300) * 9
compressed = zlib.compress(bytes(112_000))
numbers = np.arange(20_011, dtype=np.int64)


@VISIT
def visit(size):
    KEPT.append(np.empty(size, np.uint8))
    return 0


class Item:
    def __init__(self, size):
        self.block = bytearray(size)

    def __len__(self):
        self.array = np.zeros(122_003, np.uint8)
        return 1


class Block:
    def __array__(self, dtype=None, copy=None):
        return np.ones(123_007, np.int8)


def generate(size):
    yield np.empty(size, np.uint8)


def nested(level):
    return nested(level - 1) if level else np.empty(101_027, np.uint8)


def grown(block, size):
    block.resize(size, refcheck=False)
    return block


def taken(size):
    library.give_back(library.take(size))


SITES = [
    lambda: np.empty(100_003, np.uint8),
    lambda: np.zeros(100_019, np.uint8),
    lambda: np.ones(100_043, np.uint8),
    lambda: np.arange(12_511),
    lambda: numbers + 1,
    lambda: numbers[:20_001].copy(),
    lambda: np.concatenate([numbers[:13_001], numbers[:1]]),
    lambda: np.sort(numbers[:15_001], kind="stable"),
    lambda: numbers[:13_501].astype(np.float64),
    lambda: np.where(numbers[:13_701] > 3, 1, 2),
    lambda: matrix[:131] @ matrix,
    lambda: np.linalg.inv(matrix[:120, :120]),
    lambda: np.fft.fft(numbers[:6_401]),
    lambda: np.vectorize(float, otypes=[float])(numbers[:12_601]).sum(),
    lambda: np.array(range(12_701)),
    lambda: np.fromiter(iter(range(12_801)), np.int64, 12_801),
    lambda: np.cumsum(numbers[:12_901]),
    lambda: numbers[numbers % 2 == 0],
    lambda: np.asarray(Block()),
    lambda: bytes(110_017),
    lambda: bytearray(110_023),
    lambda: [None] * 13_801,
    lambda: "x" * 110_039,
    lambda: "".join(["ab"] * 55_501),
    lambda: b"-".join([b"abc"] * 28_001),
    lambda: array.array("d", bytes(111_008)),
    lambda: ctypes.create_string_buffer(111_031),
    lambda: zlib.decompress(compressed, bufsize=112_017),
    lambda: pickle.dumps(bytes(112_031)),
    lambda: io.BytesIO(bytes(112_041)).read(),
    lambda: json.dumps("y" * 112_051),
    lambda: struct.pack("112061s", b""),
    lambda: memoryview(numbers[:14_301]).tobytes(),
    lambda: taken(113_011),
    lambda: library.call_back(visit, 114_013),
    lambda: Item(115_019),
    lambda: len(Item(115_021)),
    lambda: next(generate(116_027)),
    lambda: nested(12),
    lambda: functools.reduce(lambda size, _: len(bytes(size)), range(3), 117_029),
    lambda: list(map(functools.partial(np.empty, dtype=np.uint8), [118_031])),
    lambda: sorted([1], key=lambda _: len(bytes(119_033))),
    lambda: {size: bytes(size) for size in [120_041]},
    lambda: grown(np.empty(121_043, np.uint8), 121_053),
    lambda: eval("bytes(121_063)"),
]


def one_round():
    for site in SITES:
        KEPT.append(site())
    KEPT.clear()


def main():
    # Until the interpreter has settled on how to execute them.
    for _ in range(20):
        one_round()
    print("ready", flush=True)
    while sys.stdin.readline():
        one_round()
        np.empty(MARKER, np.uint8)
        print("done", flush=True)


main()
