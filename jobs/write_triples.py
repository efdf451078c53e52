"""spark-submit jobs/write_triples.py CONF [dotted.key=value ...]: the same as `kgspark write-triples`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["write-triples", *sys.argv[1:]]))
