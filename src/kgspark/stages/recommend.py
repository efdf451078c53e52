"""recommend: every user's top-K unseen movies, and every movie's top-K users, ranked on Spark's executors."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import StageError
from kgspark.graph.layout import EntityLayout
from kgspark.night.candidates import write_candidates
from kgspark.night.night import Night
from kgspark.night.reads import (
    SIDES,
    candidate_tables,
    cleaned_tables,
    entity_layout,
    id_type,
    list_length,
    own_table_signatures,
    ranked_tables,
)
from kgspark.retrieval.device import RankingDevice
from kgspark.retrieval.pool_files import write_pools
from kgspark.retrieval.ranked_files import RankedFiles, discard_partial, write_ranked
from kgspark.retrieval.ranking_task import RankingPlan
from kgspark.runs import Outcome, StageWork
from kgspark.search_space import SearchSpace
from kgspark.spark.frames import read_table, task_cores
from kgspark.spark.ranking.executors import (
    SideWriter,
    WrittenSide,
    queries_a_task,
    query_stream,
    write_on_executors,
)
from kgspark.spark.ranking.task_gpu import task_gpu
from kgspark.spark.session import usable_cores
from kgspark.tables import ENTITIES, RATINGS, RECOMMENDATIONS, SEARCH_SPACE


def run(night: Night) -> Outcome:
    """Ranks unless search space, ratings, candidates and K are as they were."""
    settings = night.settings
    restricted = settings.candidates.restrict
    work = StageWork.plan(
        night.run,
        "recommend",
        reads=(SEARCH_SPACE, ENTITIES, *(cleaned_tables(night) if restricted else [RATINGS])),
        writes=[*ranked_tables(night), *candidate_tables(night)],
        settings={
            "recommend": settings.recommend.model_dump(),
            "audiences": settings.audiences.model_dump(),
            "candidates": settings.candidates.model_dump(),
            "liked": settings.target.where,
            "ds": settings.run_date,
        },
        sources=own_table_signatures(night) if restricted else {},
    )
    return night.stage(work, _recommend, _summary)


def _recommend(night: Night, work: StageWork) -> None:
    model_id = SearchSpace.load(night.run.table(SEARCH_SPACE)).model_id
    layout = entity_layout(night)
    folders = work.begin()
    beside, offered = write_candidates(night, layout, folders)
    names = ranked_tables(night)
    plans = {name: _plan(night, layout, name, work.staging) for name in names}
    kinds = {name: _write_pools(night, plan, work.staging) for name, plan in plans.items()}
    written = _rank(night, layout, model_id, {name: (plans[name], folders[name]) for name in names})
    details: dict[str, dict[str, Any]] = {}
    for name, side in written.items():
        details[name] = {"model_id": model_id, "k": plans[name].k, "search": kinds[name]}
        if side.listed:
            details[name]["recall"] = _checked_recall(night, name, side)
    files = beside | {name: side.files for name, side in written.items()}
    work.commit(files, details | {name: {"offered": offered} for name in beside})


def _plan(night: Night, layout: EntityLayout, name: str, staging: Path) -> RankingPlan:
    settings, side = night.settings, SIDES[name]
    approximate = settings.recommend.index.kind != "flat"
    one_exact_pool = not approximate and not settings.candidates.restrict
    return RankingPlan(
        folder=str(night.run.table(SEARCH_SPACE)),
        side="items" if name == RECOMMENDATIONS else "queries",
        k=list_length(night, name),
        block=settings.recommend.block,
        threads=task_cores(night.spark),
        engine=RankingDevice(settings.recommend.device, task_gpu),
        pools=None if one_exact_pool else str(staging / "pools"),
        index=settings.recommend.index,
        sample_every=-(-layout.count(side.query_kind) // settings.recommend.index.sample) if approximate else 0,
        query_name=side.query_column,
        item_name=side.item_column,
        reason_name=f"reason_{side.item_column}" if name == RECOMMENDATIONS else None,
    )


def _write_pools(night: Night, plan: RankingPlan, staging: Path) -> list[str]:
    """Writes what is ranked against what, once for all executors; returns the kinds of search."""
    if plan.pools is None:
        return ["flat"]
    settings = night.settings
    candidates = staging if settings.candidates.restrict else None
    return sorted(set(write_pools(plan.pool_files, candidates, settings.recommend.index, usable_cores())))


def _rank(
    night: Night, layout: EntityLayout, model_id: str, plans: Mapping[str, tuple[RankingPlan, Path]]
) -> dict[str, WrittenSide]:
    stream = query_stream(
        read_table(night.spark, night.run.table(RATINGS)),
        read_table(night.spark, night.run.table(ENTITIES)),
        layout,
        [SIDES[name] for name in plans],
        id_type(night),
        night.settings.target.where or "true",
    )
    writers = []
    for name, (plan, folder) in plans.items():
        queries = layout.count(SIDES[name].query_kind)
        per_task = queries_a_task(queries, plan.k, night.settings.recommend.rows_per_file)
        folder.mkdir()
        files = RankedFiles(plan, str(folder), per_task, {"model_id": model_id, "ds": night.settings.run_date})
        writers.append(SideWriter(queries, per_task, partial(write_ranked, files=files)))
    written = write_on_executors(stream, writers)
    for _, folder in plans.values():
        discard_partial(folder)
    return dict(zip(plans, written, strict=True))


def _checked_recall(night: Night, name: str, side: WrittenSide) -> float:
    """Share of the sample's exact lists that was found; StageError below the floor."""
    recall = side.found / side.listed
    floor = night.settings.recommend.index.min_recall
    if recall < floor:
        raise StageError(
            f"{name}: the approximate search found {recall:.4f} of the exact lists of a sample, and "
            f"recommend.index.min_recall asks for {floor}; raise recommend.index.probes, breadth or refine, or set "
            "recommend.index.kind=flat"
        )
    return recall


def _summary(night: Night) -> str:
    parts = []
    for name in ranked_tables(night):
        manifest = night.run.manifest(name)
        recall = f", recall {manifest.details['recall']:.4f}" if "recall" in manifest.details else ""
        parts.append(f"{manifest.rows:,} rows of {name} (K = {manifest.details['k']}{recall})")
    return ", ".join(parts)
