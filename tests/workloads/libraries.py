"""A process with large libraries: `cargo xtask bench probes` measures how long attaching takes."""

import sys

import numpy
import pandas
import pyarrow
import pyarrow.parquet

print("ready", flush=True)
sys.stdin.readline()
