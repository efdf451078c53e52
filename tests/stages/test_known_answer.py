from pathlib import Path

import numpy as np
import pandas as pd

from worlds.tastes import write_world


def test_the_withheld_movie_is_the_one_right_answer(tmp_path: Path) -> None:
    world = write_world(tmp_path, groups=3, users=12, movies=6)
    ratings = pd.read_csv(tmp_path / "ratings.csv")
    movies = pd.read_csv(tmp_path / "movies.csv")
    assert len(world.withheld) == 36
    assert len(ratings) == 36 * 5
    assert len(movies) == 18
    assert not ratings.duplicated(["userId", "movieId"]).any()
    # Popularity cannot tell the movies apart ...
    assert ratings.groupby("movieId").size().nunique() == 1
    # ... but the likes that a user has in common with others find the withheld movie, and no other.
    seen = pd.crosstab(ratings["userId"], ratings["movieId"])
    scores = (seen.to_numpy() @ (seen.T.to_numpy() @ seen.to_numpy())).astype(float)
    scores[seen.to_numpy() > 0] = -np.inf
    best = seen.columns[scores.argmax(axis=1)]
    assert dict(zip(seen.index, best, strict=True)) == world.withheld
    assert ((scores > 0).sum(axis=1) == 1).all()


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_world(tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "ratings.csv").read_bytes() for name in "abc")
    assert a == b != c
