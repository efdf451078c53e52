"""spark-submit jobs/clean_ratings.py CONF [dotted.key=value ...]: the same as `kgspark clean-ratings`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["clean-ratings", *sys.argv[1:]]))
