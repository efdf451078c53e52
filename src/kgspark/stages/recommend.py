"""recommend: every user's top-K unseen movies, and every movie's top-K users, ranked on Spark's executors."""

from functools import partial
from pathlib import Path

from kgspark.entity_layout import MOVIE, USER, EntityLayout
from kgspark.retrieval.blocks import RankingPlan
from kgspark.retrieval.files import RankedFiles, write_ranked
from kgspark.runs import StageWork
from kgspark.search_space import SearchSpace
from kgspark.spark.frames import read_table, task_cores
from kgspark.spark.ranking import Side, SideWriter, queries_a_task, query_stream, write_on_executors
from kgspark.stages.index_entities import entity_layout
from kgspark.stages.inputs import id_type
from kgspark.stages.night import Night, Outcome
from kgspark.tables import AUDIENCES, ENTITIES, RATINGS, RECOMMENDATIONS, SEARCH_SPACE

SIDES = {RECOMMENDATIONS: Side(USER, MOVIE), AUDIENCES: Side(MOVIE, USER)}


def ranked_tables(night: Night) -> list[str]:
    """The tables that this night ranks and publishes."""
    return [RECOMMENDATIONS, AUDIENCES] if night.settings.audiences.enabled else [RECOMMENDATIONS]


def list_length(night: Night, table: str) -> int:
    """K of a ranked table."""
    return night.settings.recommend.k if table == RECOMMENDATIONS else night.settings.audiences.k


def run(night: Night) -> Outcome:
    """Ranks unless search space, ratings and K are as they were."""
    settings = night.settings
    tables = ranked_tables(night)
    work = StageWork.plan(
        night.run,
        "recommend",
        reads=(SEARCH_SPACE, RATINGS, ENTITIES),
        writes=tables,
        settings={
            "recommend": settings.recommend.model_dump(),
            "audiences": settings.audiences.model_dump(),
            "liked": settings.target.where,
            "ds": settings.run_date,
        },
    )
    return night.stage(work, lambda work: _recommend(night, work), lambda: _summary(night))


def _recommend(night: Night, work: StageWork) -> str:
    model_id = SearchSpace.load(night.run.table(SEARCH_SPACE)).model_id
    layout = entity_layout(night)
    folders = work.begin()

    writers = [_writer(night, layout, model_id, name, folder) for name, folder in folders.items()]
    stream = query_stream(
        read_table(night.spark, night.run.table(RATINGS)),
        read_table(night.spark, night.run.table(ENTITIES)),
        layout,
        [SIDES[name] for name in folders],
        id_type(night),
        night.settings.target.where or "true",
    )
    files = dict(zip(folders, write_on_executors(stream, writers), strict=True))
    work.commit(files, {name: {"model_id": model_id, "k": list_length(night, name)} for name in folders})
    return _summary(night)


def _writer(night: Night, layout: EntityLayout, model_id: str, name: str, folder: Path) -> SideWriter:
    settings, side, k = night.settings, SIDES[name], list_length(night, name)
    queries = layout.count(side.query_kind)
    per_task = queries_a_task(queries, k, settings.recommend.rows_per_file)
    plan = RankingPlan(
        folder=str(night.run.table(SEARCH_SPACE)),
        side="items" if name == RECOMMENDATIONS else "queries",
        k=k,
        block=settings.recommend.block,
        threads=task_cores(night.spark),
        query_name=side.query_column,
        item_name=side.item_column,
        reason_name=f"reason_{side.item_column}" if name == RECOMMENDATIONS else None,
    )
    folder.mkdir()
    files = RankedFiles(plan, str(folder), per_task, {"model_id": model_id, "ds": settings.run_date})
    return SideWriter(queries, per_task, partial(write_ranked, files=files))


def _summary(night: Night) -> str:
    parts = []
    for name in ranked_tables(night):
        manifest = night.run.manifest(name)
        parts.append(f"{manifest.rows:,} rows of {name} (K = {manifest.details['k']})")
    return ", ".join(parts)
