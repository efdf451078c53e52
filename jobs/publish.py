"""spark-submit jobs/publish.py CONF [dotted.key=value ...]: the same as `kgspark publish`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["publish", *sys.argv[1:]]))
