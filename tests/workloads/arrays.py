"""NumPy arrays of every kind, each made by a function of its own; the other process, if there is one,
is given the name of the shared memory."""

import sys
import tempfile
from multiprocessing import resource_tracker, shared_memory

import numpy as np

MIB = 1 << 20


def never_written():
    return np.zeros(40 * MIB, dtype=np.uint8)


def ones():
    return np.ones(24 * MIB, dtype=np.uint8)


def half_written():
    array = np.empty(32 * MIB, dtype=np.uint8)
    array[: 16 * MIB] = 1
    return array


def of_file(file):
    file.truncate(20 * MIB)
    array = np.memmap(file, dtype=np.uint8, mode="r+", shape=(20 * MIB,))
    array[: 12 * MIB] = 2
    return array


def shared(segment, start, end):
    array = np.ndarray(segment.size, dtype=np.uint8, buffer=segment.buf)
    array[start:end] = 3
    return array


print("ready", flush=True)
sys.stdin.readline()
# Python 3.8 to 3.12 would remove the segment when the second process ends.
resource_tracker.register = lambda *arguments: None
if len(sys.argv) > 1:
    segment = shared_memory.SharedMemory(sys.argv[1])
    kept = [shared(segment, 8 * MIB, 28 * MIB)]
else:
    # Not in memory: /tmp may be.
    folder = tempfile.NamedTemporaryFile(dir="/var/tmp")
    segment = shared_memory.SharedMemory(create=True, size=28 * MIB)
    print(segment.name, flush=True)
    kept = [never_written(), ones(), half_written(), of_file(folder), shared(segment, 0, 16 * MIB)]
print("done", flush=True)
sys.stdin.readline()
kept.clear()
if len(sys.argv) == 1:
    segment._mmap = None
    shared_memory._posixshmem.shm_unlink(segment._name)
