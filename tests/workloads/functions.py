"""Makes functions one after the other and calls each once: every one is new to a tracer.

Function `made_N` keeps a block of 1001 + N bytes.
"""

import sys

COUNT = 20_000

kept = []


def make(number):
    names = {}
    code = f"def made_{number}():\n    return bytearray({1000 + number})\n"
    exec(compile(code, f"/srv/{'generated/' * 20}{number}.py", "exec"), names)
    kept.append(names[f"made_{number}"]())


print("ready", flush=True)
sys.stdin.readline()
for number in range(COUNT):
    make(number)
print("done", flush=True)
sys.stdin.readline()
