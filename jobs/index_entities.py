"""spark-submit jobs/index_entities.py CONF [dotted.key=value ...]: the same as `kgspark index-entities`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["index-entities", *sys.argv[1:]]))
