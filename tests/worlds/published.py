"""Ranked tables of a known model, and what readers find in the warehouse after their publication."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.content import columns_text, content_hash
from kgspark.files import TableFiles
from kgspark.retrieval.published_files import write_published
from kgspark.runs import Run, StageWork
from kgspark.tables import RANKED
from kgspark.warehouse.folder import FolderWarehouse
from kgspark.warehouse.versions import SUCCESS

ROWS_PER_FILE = 3


def rank(
    run: Run,
    model: str,
    tables: Sequence[str] = RANKED,
    files: int = 2,
    more: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Run:
    """Ranked tables whose rows all name the model, committed in the way of the stage recommend.

    more  values of columns that are added, or that replace those of the same name, in every row; a scalar of Arrow's
          says the type, too
    details  of the tables' manifests, besides the model
    """
    work = StageWork.plan(run, "recommend", writes=tables, settings={"model": model})
    folders = work.begin()
    described = {}
    for table, folder in folders.items():
        folder.mkdir()
        written = [
            write_published(
                str(folder), f"part-{number:05d}.parquet", iter([_rows(number, more or {})]), _constants(run, model)
            )
            for number in range(files)
        ]
        columns = columns_text(pq.read_schema(folder / written[0][0].name))
        content = content_hash(columns, files * ROWS_PER_FILE, sum(total for _, total in written))
        described[table] = TableFiles([file for file, _ in written], content)
    work.commit(described, {table: {"model_id": model, **(details or {})} for table in tables})
    return run


def _constants(run: Run, model: str) -> dict[str, str]:
    return {"model_id": model, "ds": run.date}


def _rows(number: int, more: Mapping[str, Any]) -> pa.RecordBatch:
    ids = pa.array(range(number * ROWS_PER_FILE, (number + 1) * ROWS_PER_FILE), pa.int64())
    ranks = pa.array([1] * ROWS_PER_FILE, pa.int32())
    added = {name: pa.repeat(value, ROWS_PER_FILE) for name, value in more.items()}
    return pa.RecordBatch.from_pydict({"user_id": ids, "rank": ranks, "movie_id": ids} | added)


def models(folder: Path) -> list[str]:
    """The model of each row in the Parquet files of a folder."""
    return sorted(pq.read_table(folder, partitioning=None)["model_id"].to_pylist())


def by_pointer(lake: Path) -> tuple[str, dict[str, list[str]]]:
    """The model that the pointer names, and the model of each row of the tables that it leads to."""
    root = FolderWarehouse.of(lake).root
    latest = json.loads((root / "_latest.json").read_text())
    return latest["model_id"], {table: models(root / found["path"]) for table, found in latest["tables"].items()}


def by_folder(run: Run) -> dict[str, list[str]]:
    """The model of each row in the date's folders that exist."""
    folders = {table: FolderWarehouse.of(run.lake).day(table, run.date) for table in RANKED}
    return {table: models(folder) for table, folder in folders.items() if folder.exists()}


def only(model: str, tables: Sequence[str] = RANKED, files: int = 2) -> dict[str, list[str]]:
    """What `by_folder` finds if all rows of the tables are of one model."""
    return {table: [model] * files * ROWS_PER_FILE for table in tables}


def listing(lake: Path) -> list[str]:
    """All files and folders in the warehouse, but for the marks of complete folders."""
    root = FolderWarehouse.of(lake).root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name not in (SUCCESS, ".lock"))
