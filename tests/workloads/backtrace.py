"""Run by gdb in a process that executes `sites.py`: writes the stack of each large allocation."""

import json

import gdb

SMALLEST = 100_000
MARKER = 123_456_789
STACKS = []


def stack():
    frames, frame = [], gdb.newest_frame()
    while frame is not None:
        # The others are not on the stack: debug information tells that they were.
        if frame.type() == gdb.NORMAL_FRAME:
            frames.append(frame.pc())
        frame = frame.older()
    return frames


class Allocation(gdb.Breakpoint):
    """The entry of an allocator function whose size is what the expression says."""

    def __init__(self, function, size):
        address = int(gdb.parse_and_eval("(unsigned long)&" + function))
        # Not by writing to the code: whenever the kernel takes a probe off the same function for
        # anybody, it also takes such a breakpoint away.
        super().__init__("*0x%x" % address, gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True
        self.size = size

    def stop(self):
        size = int(gdb.parse_and_eval(self.size))
        if size == MARKER:
            return True
        if SMALLEST <= size < MARKER:
            STACKS.append(dict(size=size, frames=stack()))
        return False


for setting in ["pagination off", "confirm off", "backtrace past-main on", "print demangle on"]:
    gdb.execute("set " + setting)
Allocation("malloc", "$rdi")
Allocation("calloc", "$rdi * $rsi")
Allocation("realloc", "$rsi")
Allocation("posix_memalign", "$rdx")
print("armed", flush=True)
gdb.execute("continue")
# Only now: whoever reads this waits for the program first.
gdb.execute("detach")
print("\nstacks " + json.dumps(STACKS), flush=True)
