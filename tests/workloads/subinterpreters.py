"""Takes turns between the main interpreter and a sub-interpreter: each keeps three blocks, the
sub-interpreter below six calls of `deep`. Both have a function of that name. From its second block
on, the sub-interpreter lets go of the lock before.

`subinterpreters.py thread` enters the sub-interpreter in another thread than made it."""

import sys
import threading

try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        print("none\nready", flush=True)
        sys.exit()

SCRIPT = """\
import time; kept = []
def deep(depth):
    if depth:
        return deep(depth - 1)
    kept and time.sleep(0.001); kept.append(bytes(700_001))
"""
kept = []


def deep(depth):
    if depth:
        return deep(depth - 1)
    kept.append(bytes(900_001))  # main's line


def work():
    for _ in range(3):
        interpreters.run_string(other, "deep(5)")
        deep(5)


other = interpreters.create()
interpreters.run_string(other, SCRIPT)
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1:] == ["thread"]:
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
else:
    work()
print("done", flush=True)
sys.stdin.readline()
