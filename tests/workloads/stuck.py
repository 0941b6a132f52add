# A worker that waits for a lock for ever, with arrays and containers in known places. On request says
# what it holds, in JSON.
import array
import collections
import ctypes
import gc
import io
import itertools
import json
import mmap
import pickle
import struct
import sys
import threading
import types
import xml.etree.ElementTree as ElementTree

import numpy

sys.setswitchinterval(0.001)


class Plain:
    def __init__(self, value):
        self.value = value


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self, first, second):
        self.first = first
        self.second = second


class Mapping(dict):
    pass


class Numbers(list):
    pass


class Point(collections.namedtuple("Point", "x y")):
    pass


class Failure(Exception):
    pass


class Packed(ctypes.Structure):
    _fields_ = [("first", ctypes.c_int), ("second", ctypes.c_double * 7)]


def generate(count):
    for number in range(count):
        yield number


def closure(held):
    def inner():
        return held

    return inner


CACHE = {"entries": {f"key-{number:07d}": number * 1000003 for number in range(400_000)}}
TABLE = {"deep": [None, {"array": numpy.zeros((300, 1000))}]}
KEPT_BY_CLOSURE = closure(numpy.ones((257, 100), dtype="int16"))
PLAIN = Plain(numpy.arange(70_000, dtype="uint32"))
SLOTTED = Slotted(None, numpy.ones(123_456, dtype="bool"))
RECORDS = numpy.zeros(1000, dtype=[("a", "i4"), ("b", "f8")])
OBJECTS = numpy.array([object() for _ in range(5000)], dtype=object)
SWAPPED = numpy.zeros(900, dtype=">i4")
DATES = numpy.zeros(5001, dtype="datetime64[ns]")
PLAINS = [Plain(number) for number in range(30_000)]
SLOTS = [Slotted(number, str(number)) for number in range(20_000)]
FLOATS = [number / 7 for number in range(50_000)]
PAIRS = [(number, number + 0.5) for number in range(10_000, 25_000)]
SETS = [{number, number + 1} for number in range(2_000)]
POINTS = [Point(number, -number) for number in range(3_000)]
TEXTS = ["é" * (number % 50) + str(number) for number in range(10_000)]
QUEUE = collections.deque(range(10_000))
LONG = "long text " * 100_000
RAW = [None, bytes(range(256)) * 800]
GROWING = Plain(bytearray(300_000))
TYPED = {"doubles": array.array("d", range(40_000))}
STRING_FILE = io.StringIO("text" * 50_000)
MAPPED = mmap.mmap(-1, 2_000_000)
FOREIGN = {"characters": ctypes.create_string_buffer(700_000)}
BORROWED = (ctypes.c_char * 700_000).from_buffer(FOREIGN["characters"])
MEMBERS = {f"member {number}" for number in range(50_000)}

TREE = ElementTree.fromstring("<a x='1'>" + "<b><c/><c/></b>" * 40 + "</a>")
READER = open(__file__, "rb")
READER.readline()
PICKLED = io.BytesIO()
PICKLER = pickle.Pickler(PICKLED)
PICKLER.dump([(str(number), [number]) for number in range(500)])
PICKLER.dump(MEMBERS)
UNPICKLER = pickle.Unpickler(io.BytesIO(PICKLED.getvalue() + b"(I1\nI2\nl."))
UNPICKLER.load(), UNPICKLER.load(), UNPICKLER.load()
UTF8 = "caché" * 10
UTF8.encode()
json.dumps({UTF8: 1})
SAMPLES = [
    0, 1, 2**30, -(2**90), True, None, 1.5, 2j, "", "ascii", "café", "ω" * 20, "\U0001f40d" * 3, UTF8, LONG,
    b"", b"bytes" * 9, bytearray(b"x" * 100), bytearray(), (), (1, 2), [], [1, 2, 3], list(range(1000)),
    FLOATS, {}, {"a": 1}, {1: 2}, {number: number for number in range(100)}, CACHE["entries"],
    dict.fromkeys("abcdefghijk"), set(), {1, 2}, set(range(100)), frozenset(range(7)), MEMBERS,
    collections.deque(), QUEUE, collections.deque(range(64)), collections.OrderedDict(),
    collections.OrderedDict(a=1, b=2), collections.defaultdict(list, a=[1]), collections.Counter("hello"),
    Plain(1), Slotted(1, 2), Mapping(a=1), Numbers([1, 2, 3]), Point(1, 2), Failure("x"), Plain, Slotted,
    Point, int, type, object(), range(5), slice(1, 2), generate, generate(3), len, closure, closure.__code__,
    generate.__code__, Plain(2).__init__, array.array("d", range(50)), array.array("b"), memoryview(b"abc"),
    numpy.zeros((30, 10)), numpy.zeros((30, 10))[:10], numpy.zeros((3, 4), order="F").T, RECORDS, OBJECTS, DATES, numpy.float64(1.5), numpy.float32(1), numpy.bool_(1), numpy.complex128(1),
    numpy.zeros(()), sys, threading.Lock(), lambda: 0, property(), iter([]), enumerate([]), zip(), map(len, []),
    TREE, TREE[0], TREE[0][0], ElementTree.Element("empty"), READER, io.BufferedWriter(io.BytesIO()),
    io.BufferedRandom(io.BytesIO(), 5000), Ellipsis, NotImplemented, vars(PLAIN), vars(sys.modules[__name__]), Plain.__dict__,
    struct.Struct("10s4x"), struct.Struct("d" * 30), ctypes.c_int, ctypes.c_int * 5, ctypes.POINTER(Packed), Packed,
    PICKLER, pickle.Pickler(io.BytesIO()), UNPICKLER, pickle.Unpickler(io.BytesIO(), encoding="latin-1"),
    itertools.product("ab", repeat=3), itertools.product(), RECORDS[0], numpy.void(b"raw"), numpy.str_("ab"), numpy.bytes_(b"cd"),
    numpy.int8(1), numpy.longdouble(1), numpy.clongdouble(1), numpy.datetime64("2020-01-01"), numpy.timedelta64(1, "s"), numpy.ulonglong(2),
    STRING_FILE, io.StringIO(), MAPPED, FOREIGN["characters"], BORROWED, ctypes.c_int(3),
    Packed(), ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int),
]
# What ctypes knows of a type is in its dict, up to 3.12.
SAMPLES += [item for of in SAMPLES[-6:] for item in gc.get_referents(of) if type(item).__name__ == "StgDict"]


def full_name(of):
    name = of.__qualname__
    return name if of.__module__ == "builtins" else f"{of.__module__}.{name}"


def static_ranges():
    """Addresses of mapped ELF files, their zeroed data included."""
    starts = {}
    for line in open("/proc/self/maps"):
        words = line.split()
        if len(words) > 5 and words[5].startswith("/"):
            starts.setdefault(words[5], int(words[0].split("-")[0], 16))
    ranges = []
    for path, start in starts.items():
        with open(path, "rb") as file:
            head = file.read(4096)
        if head[:4] != b"\x7fELF":
            continue
        (kind,) = struct.unpack_from("<H", head, 16)
        (table,), (count,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<H", head, 56)
        segments = [struct.unpack_from("<IIQQQQQQ", head, table + number * 56) for number in range(count)]
        end = max(address + size for of, _, _, address, _, _, size, _ in segments if of == 1)
        ranges.append((start, end + (start if kind == 3 else 0)))
    return ranges


def reachable():
    """Everything that the collector tracks and all that it refers to, in memory that was allocated."""
    static = static_ranges()
    found, seen = collections.Counter(), set()
    stack = gc.get_objects()
    own = {id(found), id(seen), id(stack), id(static)}
    while stack:
        item = stack.pop()
        if id(item) in seen or id(item) in own or item is sys._getframe():
            continue
        seen.add(id(item))
        if not any(start <= id(item) < end for start, end in static):
            found[type(item)] += 1
        stack.extend(gc.get_referents(item))
        if isinstance(item, dict):
            # Keys are left out where all of them are strings.
            stack.extend(dict.keys(item))
        if isinstance(item, types.CodeType):
            stack += [item.co_consts, item.co_names, item.co_name, item.co_filename]
        if type(item) is numpy.ndarray:
            stack += [] if item.base is None else [item.base]
            stack.extend(item.flat if item.dtype == object else ())
    return {full_name(of): count for of, count in found.items()}


def tell():
    gc.collect()
    tracked = collections.Counter(full_name(type(item)) for item in gc.get_objects())
    tracked = dict(sorted(tracked.items()))
    counts = reachable()
    sizes = [(id(item), sys.getsizeof(item), full_name(type(item))) for item in SAMPLES]
    line = json.dumps({"tracked": tracked, "counts": counts, "sizes": sizes})
    del tracked, counts, sizes
    gc.collect()
    print("answer", line, flush=True)
    print("blocks", sys.getallocatedblocks(), flush=True)


def work(lock, is_set_up):
    batch = [numpy.full((1000 + number, 625), number, dtype="float64") for number in range(38)]
    single = numpy.ones((2048, 1024), dtype="float32")
    view = single[10:20, ::2]
    is_set_up.set()
    lock.acquire()
    return batch, single, view


def main():
    lock, is_set_up = threading.Lock(), threading.Event()
    lock.acquire()
    threading.Thread(target=work, args=(lock, is_set_up), name="worker", daemon=True).start()
    is_set_up.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    tell()
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
