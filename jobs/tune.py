"""spark-submit jobs/tune.py CONF [dotted.key=value ...]: the same as `kgspark tune`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
