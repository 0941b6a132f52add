"""A Python heap with holes; then calls malloc_trim(0) and says what it had in memory around that."""
import ctypes
import sys

libc = ctypes.CDLL("libc.so.6")


def resident():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def say(line):
    print(line, flush=True)


resident()
say("ready")
sys.stdin.readline()
blocks = [bytes(size % 60000 + 600) for size in range(0, 40_000_000, 17011)]
texts = [("%d" % number) * 200 for number in range(20000)]
kept = blocks[::9], texts[::50]
del blocks, texts
resident()
say("done")
sys.stdin.readline()
before = resident()
libc.malloc_trim(0)
after = resident()
say("sum trim %d %d" % (before, after))
say("done")
sys.stdin.readline()
