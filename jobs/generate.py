"""spark-submit jobs/generate.py OUT [dotted.key=value ...]: the same as `kgspark generate`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
