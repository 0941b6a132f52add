"""A parent with 32 MB that two forked children share, each with 16 MB of its own; all live for two seconds."""

import os
import time

import numpy as np

shared = np.ones(4_000_000)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        own = np.ones(2_000_000)
        time.sleep(2)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
