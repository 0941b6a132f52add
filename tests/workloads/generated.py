"""Code that is made again and again, each time at the addresses of the code before it. Every piece
makes one block, of a size of its own: MANY sizes for each kind, 16 bytes apart."""

import sys

MANY = 200

kept = []


def cell(number, size):
    """Statements, as a notebook runs them."""
    names = {}
    exec(compile(f"a = [{number}]\nblock = bytearray({size})\n", f"cell_{number:05}.py", "exec"), names)
    return names["block"]


def short(number, size):
    """An expression."""
    function = eval(compile(f"lambda: bytearray({size})", f"short_{number:05}.py", "eval"))
    return function()


def full(number, size):
    """Functions of one file with names of one length."""
    name = f"full_{number:05}"
    names = {}
    exec(compile(f"def {name}():\n    return bytearray({size})\n", "full.py", "exec"), names)
    return names[name]()


def late(number, size):
    """Functions of one file and one name that differ in their lines."""
    names = {}
    lines = "\n" * number
    exec(compile(f"def late():\n{lines}    return bytearray({size})\n", "late.py", "exec"), names)
    return names["late"]()


def hashed(number, size):
    """As `cell`, but the file name's hash becomes known while the code runs."""
    names = {"hash": hash, "file": f"hashed_{number:05}.py"}
    text = f"first = bytearray({size})\nhash(file)\nsecond = bytearray({size})\n"
    exec(compile(text, names["file"], "exec"), names)
    return names["first"], names["second"]


print("ready", flush=True)
sys.stdin.readline()
for place, make in enumerate([cell, short, full, late, hashed]):
    for number in range(MANY):
        kept.append(make(number, 100_000 * (place + 1) + 16 * number))
print("done", flush=True)
sys.stdin.readline()
