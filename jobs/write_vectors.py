"""spark-submit jobs/write_vectors.py CONF [dotted.key=value ...]: the same as `kgspark write-vectors`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["write-vectors", *sys.argv[1:]]))
