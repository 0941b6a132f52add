"""Arrays of known sizes, made in as many ways as Python has to run a line.

What a line keeps alive stands behind it: `# live 8_000_001`; with `, allocated 16_000_002` when it
allocates more than that, and `, in work` for the function as a report names it. The answers for
generated code are given to `answer`. Before it says `done` the program prints all of them as JSON.
"""

import asyncio
import bz2
import concurrent.futures
import ctypes
import functools
import gc
import json
import os
import re
import runpy
import signal
import sys
import threading
import zlib

import numpy as np

FILE = sys._getframe().f_code.co_filename
KEPT = []
ANSWERS = []
keep = KEPT.append

library = ctypes.CDLL(sys.argv[1])
library.take.argtypes = library.take_in_thread.argtypes = [ctypes.c_size_t]
library.take.restype = library.take_in_thread.restype = ctypes.c_void_p
VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

MARK = re.compile(r"# live ([\d_]+)(?:, allocated ([\d_]+))?(?:, in (\S+))?$")


def answer(file, line, live, allocated=None, function=None):
    if function and sys.version_info < (3, 11):
        # Code objects did not know their qualified name.
        function = function.rpartition(".")[2]
    ANSWERS.append(dict(file=file, line=line, live=live, allocated=allocated, function=function))


def answers_of_marks():
    with open(FILE, encoding="utf-8") as source:
        for line, text in enumerate(source, 1):
            mark = MARK.search(text.rstrip())
            if mark:
                live, allocated, function = mark.groups()
                answer(FILE, line, int(live), int(allocated or live), function)


def arrays():
    keep(np.zeros(8_000_001, np.uint8))  # live 8_000_001, in arrays
    keep(np.ones(8_000_003, np.uint8))  # live 8_000_003
    keep(np.empty((1000, 1001), np.float64))  # live 8_008_000
    keep(np.arange(1_000_007))  # live 8_000_056
    keep(np.add(np.arange(1_000_009), 1))  # live 8_000_072, allocated 16_000_144
    freed = np.empty(8_000_011, np.uint8)  # live 0, allocated 8_000_011
    del freed
    kept, freed = np.empty((2, 4_000_013), np.uint8).copy(), 0  # live 8_000_026, allocated 16_000_052
    keep(kept[1])
    keep([np.empty(4_000_037, np.uint8) for _ in range(2)])  # live 8_000_074


def resized():
    grown = np.empty(1_000_003, np.uint8)  # live 0, allocated 1_000_003
    grown.resize(8_000_017, refcheck=False)  # live 8_000_017
    shrunk = np.empty(16_000_057, np.uint8)  # live 0, allocated 16_000_057
    shrunk.resize(8_000_029, refcheck=False)  # live 8_000_029
    small = np.empty(2_000_003, np.uint8)  # live 0, allocated 2_000_003
    keep(np.resize(small, 8_000_012))  # live 8_000_012
    keep([grown, shrunk])


def ordered(value):
    keep(np.empty(4_000_000 + value, np.uint8))  # live 8_000_003, in ordered
    return value


@functools.cmp_to_key
def compared(left, right):
    keep(np.empty(8_000_051, np.uint8))  # live 8_000_051, in compared
    return left - right


@VISIT
def visit(value):
    keep(np.empty(8_000_053 + value, np.uint8))  # live 8_000_060, in visit
    return value


@VISIT
def visit_from_thread(value):
    keep(np.empty(8_000_070 + value, np.uint8))  # live 8_000_077, in visit_from_thread
    return value


def callbacks():
    keep(sorted([2, 1], key=ordered))
    keep(sorted([2, 1], key=compared))
    keep(list(map(lambda size: np.empty(size, np.uint8), [8_000_059])))  # live 8_000_059, in callbacks.<locals>.<lambda>
    library.call_back(visit, 7)
    library.call_back_in_thread(visit_from_thread, 7)
    vectorized = np.vectorize(lambda size: len(keep(np.empty(size, np.uint8)) or "a"))  # live 16_000_134, in callbacks.<locals>.<lambda>
    vectorized(np.array([8_000_067]))


def generated():
    yield np.empty(8_000_061, np.uint8)  # live 8_000_061, in generated
    yield from inner_generated()


def inner_generated():
    yield np.empty(8_000_063, np.uint8)  # live 8_000_063, in inner_generated


def generators():
    keep(list(generated()))
    keep(next(np.empty(size, np.uint8) for size in [8_000_069]))  # live 8_000_069, in generators.<locals>.<genexpr>


async def fetch(size):
    await asyncio.sleep(0)
    return np.empty(size, np.uint8)  # live 16_000_150, in fetch


async def stream():
    await asyncio.sleep(0)
    yield np.empty(8_000_077, np.uint8)  # live 8_000_077, in stream


def blocking():
    return np.empty(8_000_079, np.uint8)  # live 8_000_079, in blocking


async def tasks():
    keep(await asyncio.gather(fetch(8_000_073), fetch(8_000_077)))
    async for array in stream():
        keep(array)
    keep(await asyncio.get_running_loop().run_in_executor(None, blocking))
    await asyncio.create_task(last_task())


async def last_task():
    keep(np.empty(8_000_081, np.uint8))  # live 8_000_081, in last_task


def pooled(size):
    return np.empty(size, np.uint8)  # live 32_000_326, in pooled


class Worker(threading.Thread):
    def run(self):
        keep(np.empty(8_000_083, np.uint8))  # live 8_000_083, in Worker.run


def threads():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        keep(list(pool.map(pooled, [8_000_080, 8_000_081, 8_000_082, 8_000_083])))
    worker = Worker()
    worker.start()
    worker.join()


def compressed(noise):
    keep(zlib.compress(noise, 0))
    line = compressed.__code__.co_firstlineno + 1
    answer(FILE, line, sys.getsizeof(KEPT[-1]), function="compressed")


def without_lock():
    """Memory taken by threads that have let the interpreter lock go."""
    library.take(8_000_087)  # live 8_000_087, in without_lock
    library.take_in_thread(8_000_089)
    thread = threading.Thread(target=lambda: library.take(8_000_091))  # live 8_000_091, in without_lock.<locals>.<lambda>
    thread.start()
    thread.join()
    # 4 bytes for each of 900,000 and of 900,034 entries and of 65,537 more, and the state.
    keep(bz2.BZ2Compressor())  # live 7_518_052, in without_lock


class Base:
    array = property(lambda self: np.empty(8_000_093, np.uint8))  # live 8_000_093, in Base.<lambda>

    def __init__(self):
        self.kept = np.empty(8_000_095, np.uint8)  # live 8_000_095, in Base.__init__

    @classmethod
    def build(cls):
        return cls(), np.empty(8_000_097, np.uint8)  # live 8_000_097, in Base.build

    @staticmethod
    def make():
        return np.empty(8_000_099, np.uint8)  # live 8_000_099, in Base.make

    def __del__(self):
        keep(np.empty(8_000_101, np.uint8))  # live 8_000_101, in Base.__del__

    def __getattr__(self, name):
        return np.empty(8_000_103, np.uint8)  # live 8_000_103, in Base.__getattr__


class Derived(Base):
    def __init__(self):
        super().__init__()
        self.more = np.empty(8_000_105, np.uint8)  # live 8_000_105, in Derived.__init__


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        keep(np.empty(8_000_107, np.uint8))  # live 8_000_107, in decorated.<locals>.wrapper
        return function(*arguments)

    return wrapper


@decorated
def plain(size):
    return np.empty(size, np.uint8)  # live 8_000_109, in plain


@functools.lru_cache(maxsize=None)
def cached(size):
    return np.empty(size, np.uint8)  # live 8_000_111, in cached


def functions():
    derived, array = Derived.build()
    keep([derived.array, derived.missing, derived.kept, derived.more, array, Base.make()])
    del derived
    keep([plain(8_000_109), cached(8_000_111), cached(8_000_111)])

    def outer():
        def inner():
            return np.empty(8_000_113, np.uint8)  # live 8_000_113, in functions.<locals>.outer.<locals>.inner

        return inner()

    keep(outer())
    keep({key: np.empty(8_000_115, np.uint8) for key in "a"})  # live 8_000_115
    keep(functools.partial(np.empty, 8_000_117, np.uint8)())  # live 8_000_117, in functions
    signal.signal(signal.SIGUSR1, on_signal)
    signal.raise_signal(signal.SIGUSR1)


def on_signal(number, frame):
    keep(np.empty(8_000_119, np.uint8))  # live 8_000_119, in on_signal


def pair(*arrays, **more):
    keep([*arrays, *more.values()])


def spread():
    pair(
        np.empty(8_000_121, np.uint8),  # live 8_000_121, in spread
        np.empty(
            8_000_123,
            np.uint8,
        ),
        third=np.empty(8_000_125, np.uint8),  # live 8_000_125, in spread
        fourth=[
            np.empty(8_000_127, np.uint8),  # live 8_000_127, in spread
        ],
    )
    answer(FILE, spread.__code__.co_firstlineno + 3, 8_000_123, function="spread")
    if (
        1 > 2
        or len(keep(np.empty(8_000_129, np.uint8)) or "a")  # live 8_000_129, in spread
    ):
        pass
    try:
        raise KeyError(np.empty(8_000_131, np.uint8))  # live 0, allocated 8_000_131
    except KeyError:
        keep(np.empty(8_000_133, np.uint8))  # live 8_000_133, in spread
    finally:
        keep(np.empty(8_000_135, np.uint8))  # live 8_000_135, in spread


def chained(first):
    return (
        first(8_000_137)
        .copy()
        .copy()
    )


class Probe:
    """Notes which lines call it, in place of an array."""

    lines = []

    def __init__(self, size):
        self.size = size
        self.lines.append(sys._getframe(1).f_lineno)

    def copy(self):
        self.lines.append(sys._getframe(1).f_lineno)
        return self


def chains():
    chained(Probe)
    keep(chained(functools.partial(np.empty, dtype=np.uint8)))
    size = 8_000_137
    for line in set(Probe.lines):
        live = size if line == Probe.lines[-1] else 0
        answer(FILE, line, live, size * Probe.lines.count(line), "chained")


def deep(level):
    if level:
        return deep(level - 1)
    return np.empty(8_000_139, np.uint8)  # live 8_000_139, in deep


def executed():
    names = dict(np=np, keep=keep)
    exec("\n\nkeep(np.empty(8_000_141, np.uint8))", names)
    answer("<string>", 3, 8_000_141, function="<module>")
    keep(eval("(\nnp.empty(8_000_143, np.uint8))", names))
    answer("<string>", 2, 8_000_143, function="<module>")


FOREIGN = [
    ("caf\u00e9", "/srv/na\u00efve/caf\u00e9.py"),
    ("\u0444\u0443\u043d\u043a\u0446\u0438\u044f", "/srv/\u6f22\u5b57/\u30d5\u30a1\u30a4\u30eb.py"),
    ("\U00010400\U00010410", "/srv/\U0001f41d \U0001f40d.py"),
    ("spaced", "/srv/a b;c.py"),
]


def foreign():
    for index, (name, file) in enumerate(FOREIGN):
        names, size = dict(np=np), 8_000_145 + 2 * index
        source = "def %s():\n    return np.empty(%d, np.uint8)\n" % (name, size)
        exec(compile(source, file, "exec"), names)
        keep(names[name]())
        answer(file, 2, size, function=name)


def long_functions():
    """Line tables of more than 1 KiB, 32 KiB and 512 KiB."""
    for index, fillers in enumerate([600, 20_000, 70_000]):
        file, size = "/srv/long%d.py" % index, 8_000_161 + 2 * index
        lines = ["def long(x):"] + ["    x = x + 1"] * fillers
        lines.insert(fillers // 2, "    keep(np.empty(%d, np.uint8))" % size)
        lines.append("    keep(np.empty(%d, np.uint8))" % (size + 10))
        names = dict(np=np, keep=keep)
        exec(compile("\n".join(lines), file, "exec"), names)
        names["long"](0)
        code = names["long"].__code__
        table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
        answer(file, fillers // 2 + 1, size, function="long")
        # Of a longer table the rest is unknown, and a line unknown rather than wrong.
        known = len(table) < 512 << 10
        answer(file, len(lines) if known else None, size + 10, function="long")
        print("table", len(table), flush=True)


def interleaved():
    file = os.path.join(os.path.dirname(FILE), "interleaved.py")
    names = runpy.run_path(file, dict(library=library, keep=keep))
    names["plain"]()
    names["in_foreign_thread"]()
    names["in_tasks"]()


def work():
    arrays()
    resized()
    callbacks()
    generators()
    asyncio.run(tasks())
    threads()
    without_lock()
    compressed(bytes(8_000_000))
    functions()
    spread()
    chains()
    keep(deep(100))
    executed()
    foreign()
    long_functions()
    interleaved()


def main():
    # It has to outlive this module for tools that look when the program has ended.
    sys.kept = KEPT
    # CPython maps memory for small objects from time to time: there is room until the end.
    room = [object() for _ in range(400_000)][::5_000]
    print("ready", flush=True)
    sys.stdin.readline()
    work()
    gc.collect()
    answers_of_marks()
    for expected in ANSWERS:
        print("answer", json.dumps(expected), flush=True)
    print("done", flush=True)
    sys.stdin.readline()


main()
