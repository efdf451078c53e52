"""spark-submit jobs/evaluate.py CONF [dotted.key=value ...]: the same as `kgspark evaluate`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
