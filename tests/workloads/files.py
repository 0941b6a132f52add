"""Loads every library of the folder that the argument names, and waits for the end of its input."""

import ctypes
import pathlib
import sys

libraries = [ctypes.CDLL(str(path)) for path in pathlib.Path(sys.argv[1]).glob("*.so")]
print("ready", flush=True)
sys.stdin.read()
