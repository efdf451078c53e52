"""Synthetic ratings written by executors: one task per block, whose rows depend on seed and block alone."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
from pyspark.sql import SparkSession

from kgspark.synthetic import GENRES, SyntheticSettings, SyntheticWorld

_COPIED_AT_ONCE = 1 << 24
_UNQUOTED = csv.WriteOptions(include_header=False, quoting_style="none")
# Half stars, in the form that MovieLens writes.
_STARS = pa.array([f"{half / 2}" for half in range(11)])


def write_movielens(session: SparkSession, settings: SyntheticSettings, folder: Path) -> int:
    """Writes `ratings.csv` and `movies.csv`, in MovieLens's form, into an existing folder; returns their size in bytes.

    Every executor must be able to write to the folder. The content depends on the settings alone.
    """
    world = SyntheticWorld(settings)
    parts = folder / "parts"
    parts.mkdir()
    blocks = session.range(0, world.blocks, 1, world.blocks)
    weighed = blocks.mapInArrow(partial(_weigh, settings=settings), "block bigint, weight double").collect()
    weights = np.zeros(world.blocks)
    for row in weighed:
        weights[row["block"]] = row["weight"]
    sizes = world.block_sizes(weights)
    blocks.mapInArrow(partial(_write, settings=settings, sizes=sizes, folder=str(parts)), "block bigint").collect()
    with open(folder / "ratings.csv", "wb") as whole:
        whole.write(b"userId,movieId,rating,timestamp\n")
        for block in range(world.blocks):
            with open(_part(parts, block), "rb") as part:
                shutil.copyfileobj(part, whole, _COPIED_AT_ONCE)
    shutil.rmtree(parts)
    with open(folder / "movies.csv", "wb") as whole:
        whole.write(b"movieId,title,genres\n")
        csv.write_csv(_movies(world), whole, _UNQUOTED)
    return sum((folder / name).stat().st_size for name in ("ratings.csv", "movies.csv"))


def _weigh(batches: Iterator[pa.RecordBatch], settings: SyntheticSettings) -> Iterator[pa.RecordBatch]:
    world = SyntheticWorld(settings)
    for batch in batches:
        weights = [world.block_weight(block) for block in batch["id"].to_pylist()]
        yield pa.RecordBatch.from_arrays([batch["id"], pa.array(weights, pa.float64())], names=["block", "weight"])


def _write(
    batches: Iterator[pa.RecordBatch], settings: SyntheticSettings, sizes: np.ndarray, folder: str
) -> Iterator[pa.RecordBatch]:
    world = SyntheticWorld(settings)
    for batch in batches:
        for block in batch["id"].to_pylist():
            drawn = world.ratings(block, int(sizes[block]))
            table = pa.table(
                {
                    "userId": drawn.users + 1,
                    "movieId": drawn.movies + 1,
                    "rating": _STARS.take(pa.array(drawn.stars)),
                    "timestamp": drawn.times,
                }
            )
            # Written under another name first, so that a second attempt of this task cannot find half a file.
            path = _part(Path(folder), block)
            csv.write_csv(table, path.with_suffix(".tmp"), _UNQUOTED)
            path.with_suffix(".tmp").replace(path)
        yield pa.RecordBatch.from_arrays([batch["id"]], names=["block"])


def _part(folder: Path, block: int) -> Path:
    return folder / f"part-{block:06d}.csv"


def _movies(world: SyntheticWorld) -> pa.Table:
    numbers = pa.array(np.arange(1, world.settings.movies + 1))
    text, years = numbers.cast(pa.string()), pa.array(world.years).cast(pa.string())
    titles = pc.binary_join_element_wise("Movie ", text, " (", years, ")", "")
    return pa.table({"movieId": numbers, "title": titles, "genres": pa.array(GENRES).take(pa.array(world.genres))})
