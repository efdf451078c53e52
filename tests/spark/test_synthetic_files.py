"""kgspark generate: files that a night reads without a bad line, the same for any number of tasks."""

from typing import Any

import numpy as np
import pandas as pd

from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.spark.synthetic import write_movielens
from kgspark.stages import clean_ratings
from kgspark.synthetic import SyntheticSettings, SyntheticWorld
from kgspark.tables import RATINGS
from nights import a_night

SIZE = SyntheticSettings(ratings=30_000, users=9_000, movies=400, seed=5)


def test_a_night_keeps_every_line(spark: Any, tmp_path: Any) -> None:
    out = tmp_path / "generated"
    out.mkdir()
    written = write_movielens(spark, SIZE, out)
    assert sorted(path.name for path in out.iterdir()) == ["movies.csv", "ratings.csv"]
    assert written == sum(path.stat().st_size for path in out.iterdir())
    assert find_source(SourceSettings(path=str(out))).format == "ml-latest"
    night = a_night(tmp_path / "lake", spark, source={"path": str(out)})
    clean_ratings.run(night)
    assert night.run.manifest(RATINGS).rows == SIZE.ratings
    assert night.run.manifest(RATINGS).details["accounts"][RATINGS]["quarantined"] == {}


def test_the_bytes_follow_from_the_settings_alone(spark: Any, tmp_path: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_movielens(spark, SIZE, tmp_path / name)
    for name in ("ratings.csv", "movies.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    world = SyntheticWorld(SIZE)
    sizes = world.block_sizes(np.array([world.block_weight(block) for block in range(world.blocks)]))
    drawn = [world.ratings(block, int(sizes[block])) for block in reversed(range(world.blocks))][::-1]
    read = pd.read_csv(tmp_path / "one" / "ratings.csv")
    assert read["userId"].tolist() == [user + 1 for part in drawn for user in part.users.tolist()]
    assert read["movieId"].tolist() == [movie + 1 for part in drawn for movie in part.movies.tolist()]
    assert (2 * read["rating"]).tolist() == [stars for part in drawn for stars in part.stars.tolist()]
    assert read["timestamp"].tolist() == [second for part in drawn for second in part.times.tolist()]
