"""Ends a run when its owner dies without a word: `python -m services.ops.local.watchdog <run>`.

The owner holds the other end of this process's standard input, so even kill -9 of it is noticed.
A pipe works on Linux and macOS alike; a parent-death signal exists on Linux only and follows a
thread.
"""

import sys
from pathlib import Path

from services.ops.local.run import sweep

if __name__ == "__main__":
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]))
