# Threads that stand still in known places, some that run, and what Python itself says of them.
import ctypes
import faulthandler
import os
import queue
import sys
import threading
import time

lock = threading.Lock()
lock.acquire()
nothing = queue.Queue()
begun = threading.Semaphore(0)
libc = ctypes.CDLL(None)
reading, writing = os.pipe()


class Waiter:
    def __init__(self, depth):
        self.depth = depth

    def acquire(self):
        if self.depth:
            self.depth -= 1
            return self.acquire()
        return lock.acquire()

    @property
    def value(self):
        return self.acquire()


def in_a_lock():
    Waiter(3).value


def through_native_code():
    sorted([2, 1], key=lambda item: [Waiter(item).acquire() for _ in range(1)])


def in_a_generator():
    def generate():
        yield 1
        Waiter(0).acquire()

    for _ in generate():
        pass


def in_a_sleep():
    time.sleep(10_000)


def in_a_queue():
    nothing.get()


def in_a_pipe():
    os.read(reading, 1)


def in_foreign_code():
    libc.pause()


def at_import():
    exec("import threading\nWait = type('Wait', (), {})\nacquire()", {"acquire": lock.acquire})


def spin():
    number = 0
    begun.release()
    while True:
        number += 1


def multiply():
    import numpy

    left = numpy.ones((600, 600))
    begun.release()
    while True:
        left @ left


STILL = [in_a_lock, through_native_code, in_a_generator, in_a_sleep, in_a_queue, in_a_pipe, in_foreign_code, at_import]
RUNNING = [spin, multiply]


def main():
    running = RUNNING if "running" in sys.argv else []
    work = STILL + running
    threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in work]
    for thread in threads:
        thread.start()
    for _ in running:
        begun.acquire()
    time.sleep(1)
    print("ready", flush=True)
    for line in sys.stdin:
        for thread in threads:
            print("thread", thread.ident, thread.native_id, thread.name)
        sys.stdout.flush()
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
        print("done", flush=True)


main()
