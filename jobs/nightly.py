"""spark-submit jobs/nightly.py CONF [dotted.key=value ...]: the same as `kgspark nightly`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["nightly", *sys.argv[1:]]))
