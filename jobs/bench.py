"""spark-submit jobs/bench.py CONF [dotted.key=value ...]: the same as `kgspark bench`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
