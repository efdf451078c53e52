"""write-vectors: the vectors that recommendations are ranked by, as tables for a vector store. Off by default."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgspark.content import columns_text, content_hash
from kgspark.files import TableFiles
from kgspark.night.night import Night
from kgspark.night.reads import id_type, vector_tables
from kgspark.published_schemas import described, published_schema
from kgspark.retrieval.published_files import discard_partial
from kgspark.retrieval.vector_task import VectorTask
from kgspark.runs import Outcome, StageWork
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, Side
from kgspark.spark.ranking.executors import WrittenFiles
from kgspark.spark.ranking.vector_files import write_vectors
from kgspark.spark.stored import place_for_tasks
from kgspark.tables import DESCRIBED, MOVIE_VECTORS, SEARCH_SPACE, USER_VECTORS, Columns

# The side of the search space that each table has, and the column of its ids.
_SIDES: dict[str, tuple[Side, str]] = {
    USER_VECTORS: (QUERIES, Columns.USER_ID),
    MOVIE_VECTORS: (ITEMS, Columns.MOVIE_ID),
}
_STAGE = "write-vectors"


def run(night: Night) -> Outcome:
    """Writes the vectors unless the search space and the settings are unchanged; nothing if they are not wanted."""
    tables = vector_tables(night)
    if not tables:
        outcome = Outcome(_STAGE, False, "vectors.enabled is false", 0.0, 0)
        night.note(outcome.summary, _STAGE)
        return outcome
    work = StageWork.plan(night.run, _STAGE, reads=(SEARCH_SPACE,), writes=tables, settings=stage_settings(night))
    return night.stage(work, _write, _summary)


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the tables depend on."""
    settings = night.settings
    return {
        "vectors": {"rows_per_file": settings.vectors.rows_per_file},
        "names": settings.names.columns,
        "run_date": settings.run_date,
    }


def _write(night: Night, work: StageWork) -> None:
    space = SearchSpace.load(night.run.table(SEARCH_SPACE))
    tasks = {table: _task(night, space, table, folder) for table, folder in work.begin().items()}
    for task in tasks.values():
        Path(task.out).mkdir()
    written = write_vectors(night.spark, [_for_executors(night, task) for task in tasks.values()])
    for task in tasks.values():
        discard_partial(Path(task.out))
    asked = (id_type(night), night.settings.names, space.scoring)
    details = {Columns.MODEL_ID: space.model_id, "scoring": space.scoring.as_json()}
    work.commit(
        {
            table: _table_files(files, published_schema(table, *asked))
            for table, files in zip(tasks, written, strict=True)
        },
        {table: details | {DESCRIBED: described(table, *asked)} for table in tasks},
    )


def _task(night: Night, space: SearchSpace, table: str, out: Path) -> VectorTask:
    side, column = _SIDES[table]
    return VectorTask(
        space=str(night.run.table(SEARCH_SPACE)),
        side=side,
        rows=len(space.vectors(side)),
        rows_per_file=night.settings.vectors.rows_per_file,
        out=str(out),
        id_name=night.settings.names.column(column),
        constants={Columns.MODEL_ID: space.model_id, Columns.DS: night.settings.run_date},
    )


def _for_executors(night: Night, task: VectorTask) -> VectorTask:
    """The task with places that all executors see."""
    space, out = (place_for_tasks(night.spark, Path(folder)) for folder in (task.space, task.out))
    return replace(task, space=space, out=out)


def _table_files(written: WrittenFiles, schema: pa.Schema) -> TableFiles:
    files = TableFiles(written.files)
    return TableFiles(files.files, content_hash(columns_text(schema), files.rows, written.total))


def _summary(night: Night) -> str:
    names, found = night.settings.names, {table: night.run.manifest(table) for table in vector_tables(night)}
    users, movies = (found[table].rows for table in (USER_VECTORS, MOVIE_VECTORS))
    scoring = found[USER_VECTORS].details["scoring"]
    return (
        f"vectors of {users:,} {names.users} and {movies:,} {names.movies}, {scoring['dimension']} numbers each, "
        f"to compare by {scoring['metric']}"
    )
