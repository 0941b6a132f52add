"""What a memray recording says of each line: live bytes at the end, as JSON."""

import collections
import json
import sys

import memray

# memray counts what the program maps itself, memtrace what it takes from the allocator.
MAPPINGS = [memray.AllocatorType.MMAP, memray.AllocatorType.MUNMAP]

lines = collections.Counter()
for record in memray.FileReader(sys.argv[1]).get_leaked_allocation_records(merge_threads=True):
    if record.allocator not in MAPPINGS:
        for _, file, line in record.stack_trace():
            if "/numpy/" not in file:
                lines[file, line] += record.size
                break
print(json.dumps([[file, line, size] for (file, line), size in lines.items()]))
