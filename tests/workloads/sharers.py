"""Two processes and one segment of shared memory, of which each has touched its own part."""

import sys
from multiprocessing import shared_memory

import numpy as np

MIB = 1 << 20
size = 48 * MIB

if len(sys.argv) == 1:
    segment = shared_memory.SharedMemory(create=True, size=size)
    array = np.ndarray(size, dtype=np.uint8, buffer=segment.buf)
    array[: 32 * MIB] = 1
    print(segment.name, flush=True)
    print("ready", flush=True)
else:
    # Python 3.8 to 3.12 would remove the segment when this process ends; its maker does that.
    from multiprocessing import resource_tracker

    resource_tracker.register = lambda *arguments: None
    segment = shared_memory.SharedMemory(sys.argv[1])
    array = np.ndarray(size, dtype=np.uint8, buffer=segment.buf)
    array[16 * MIB :] = 2
    print("ready", flush=True)

sys.stdin.readline()
ones = np.ones(3 * MIB)
zeros = np.zeros(5 * MIB)
print("done", flush=True)
sys.stdin.readline()
del array
segment.close()
if len(sys.argv) == 1:
    segment.unlink()
