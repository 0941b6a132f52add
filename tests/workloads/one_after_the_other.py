"""Three children that hold 80 MB each, one after the other."""

import subprocess
import sys

HOLD = "import numpy, time; kept = numpy.ones(10_000_000); time.sleep(0.5)"

for _ in range(3):
    subprocess.run([sys.executable, "-c", HOLD], check=True)
