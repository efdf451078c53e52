"""spark-submit jobs/recommend.py CONF [dotted.key=value ...]: the same as `kgspark recommend`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["recommend", *sys.argv[1:]]))
