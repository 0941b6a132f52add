"""Builds and drops tables of many small values, as a pandas job with columns of objects does.

Small objects are mallocs here (PYTHONMALLOC=malloc), so that there are millions of them.
`small.py SECONDS` ends by itself."""

import sys
import time


def join(rows):
    left = {f"key-{row}": {"value": row * 1.5, "name": f"name {row}"} for row in range(rows)}
    return [{**entry, "key": key, "twice": entry["value"] * 2} for key, entry in left.items()]


print("ready", flush=True)
sys.stdin.readline()
kept = join(20_000)
print("kept", flush=True)
end = time.monotonic() + float(sys.argv[1]) if len(sys.argv) > 1 else None
while end is None or time.monotonic() < end:
    join(5_000)
