"""A program that trains by two workers, far longer than any test.

python long_training.py SHARDS FOLDER
"""

import sys
from pathlib import Path

from kgspark.graph.shards import read_graph
from kgspark.kge.training.distributed import Team
from kgspark.kge.training.local_workers import run_on_this_machine
from kgspark.kge.training.training import train
from worlds.graphs import LAYOUT, RELATIONS, settings


def main(shards: Path, folder: Path) -> None:
    """Trains."""
    endless = settings(workers=2, epochs=10**6, validation={"patience": 10**6}, device="cpu")
    train(read_graph(shards, LAYOUT, RELATIONS), endless, folder, team=Team(shards, run_on_this_machine, 1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
