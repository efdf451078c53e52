"""Ranked rows as Parquet files, written where they are ranked.

Arrow writes the same bytes for the same rows on every machine and in every process. Spark's Parquet writer does not:
its footers list encodings in an order that changes from one JVM to the next.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.files import describe_file
from kgspark.retrieval.ranking_task import RankingPlan, Recall, rank_batches

# Begins the name of a file that is being written.
_PARTIAL = ".partial-"
_COUNTS = ("bytes", "rows", "listed", "found")
DESCRIPTION = pa.schema({"name": pa.string(), "sha256": pa.string()} | dict.fromkeys(_COUNTS, pa.int64()))


@dataclass(frozen=True)
class RankedFiles:
    """Where the files of a ranked table go, and how they are cut.

    folder     exists, and every machine that ranks sees it
    per_file   queries a file: file i holds the queries [i · per_file, (i + 1) · per_file)
    constants  further columns that hold one string in every row
    """

    plan: RankingPlan
    folder: str
    per_file: int
    constants: Mapping[str, str]


def write_ranked(batches: Iterator[pa.RecordBatch], files: RankedFiles) -> Iterator[pa.RecordBatch]:
    """Ranks the queries of one file (see `rank_batches`), writes it, and yields its description as one row.

    The description's `listed` and `found` are those of `Recall`.

    The file appears under its name only when it is whole. A task that is repeated, or runs twice at once, writes the
    same bytes and puts them in the same place.
    """
    batches = (batch for batch in batches if batch.num_rows)
    first = next(batches, None)
    if first is None:
        return
    number = first["index"][0].as_py() // files.per_file
    target = Path(files.folder) / f"part-{number:05d}.parquet"
    partial = target.with_name(f"{_PARTIAL}{target.name}.{uuid.uuid4().hex}")
    recall = Recall()
    _write(partial, rank_batches(chain([first], batches), files.plan, recall), files.constants)
    os.replace(partial, target)
    yield pa.RecordBatch.from_pylist([asdict(describe_file(target)) | asdict(recall)], schema=DESCRIPTION)


def discard_partial(folder: Path) -> None:
    """Removes what tasks left in `folder` that died while they wrote, or that a second copy of them outran."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


def _write(path: Path, ranked: Iterator[pa.RecordBatch], constants: Mapping[str, str]) -> None:
    writer = None
    for batch in ranked:
        for name, value in constants.items():
            batch = batch.append_column(name, pa.repeat(pa.scalar(value), batch.num_rows))
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
