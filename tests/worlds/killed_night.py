"""A program like `kgspark nightly CONF` that is killed before a change in the lake's store or a move on the disk.

    python -m worlds.killed_night NUMBER TOLD CONF

The change is the one with the NUMBER, from 0. It is written to the file TOLD.
"""

import os
import sys

from kgspark.cli import main
from worlds.killed_stored_lake import kill_at

if __name__ == "__main__":
    number, told, conf = sys.argv[1:]
    kill_at(int(number), os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    sys.exit(main(["nightly", conf]))
