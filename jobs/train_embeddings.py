"""spark-submit jobs/train_embeddings.py CONF [dotted.key=value ...]: the same as `kgspark train-embeddings`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-embeddings", *sys.argv[1:]]))
