"""recommend: every user's top-K unseen movies, and every movie's top-K users, ranked on Spark's executors."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kgspark.content import columns_text, content_hash
from kgspark.errors import StageError
from kgspark.files import TableFiles
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.night.lists.offers import write_offers
from kgspark.night.lists.reason_facts import write_fact_files
from kgspark.night.lists.rules import extras_of, write_rule_files
from kgspark.night.lists.rules_measured import measure_rules, notes_on_rules
from kgspark.night.night import Night
from kgspark.night.reads import (
    DIRECTIONS,
    candidate_tables,
    cleaned_tables,
    entity_layout,
    has_rules,
    id_type,
    list_length,
    needs_popular,
    own_table_signatures,
    ranked_tables,
    relations_of,
    rule_tables,
    search_spaces,
    seen_pairs,
    vectors_by_source,
)
from kgspark.published_schemas import described, published_schema
from kgspark.retrieval.device import RankingDevice
from kgspark.retrieval.index import load_index
from kgspark.retrieval.pool_files import write_pools
from kgspark.retrieval.popular import write_popular
from kgspark.retrieval.published_files import discard_partial
from kgspark.retrieval.ranking_task import RankingTask
from kgspark.retrieval.reason_texts import ReasonTexts
from kgspark.runs import Outcome, StageWork
from kgspark.search_space import ITEMS, QUERIES, SearchSpace
from kgspark.spark.frames import read_table, task_cores, write_table
from kgspark.spark.own_tables import RefusedLines
from kgspark.spark.ranking.executors import WrittenFiles, queries_per_file, query_stream, write_on_executors
from kgspark.spark.ranking.popularity import likes_by_segment
from kgspark.spark.ranking.task_gpu import task_gpu
from kgspark.spark.session import usable_cores
from kgspark.spark.stored import bring_here, place_for_tasks
from kgspark.spark.unknown_ids import UnknownIds
from kgspark.tables import (
    AVERAGE,
    DESCRIBED,
    ENTITIES,
    MODEL,
    POPULAR,
    RANKED_WITH,
    RATINGS,
    RECOMMENDATIONS,
    SEEN,
    SEGMENTS,
    SOURCES,
    TRIPLES,
    Columns,
)


def run(night: Night) -> Outcome:
    """Ranks unless search spaces, ratings, candidates and K are unchanged."""
    uses_own_tables = bool(candidate_tables(night) or rule_tables(night))
    work = StageWork.plan(
        night.run,
        "recommend",
        reads=_inputs(night),
        writes=[*ranked_tables(night), *candidate_tables(night), *rule_tables(night)],
        settings=stage_settings(night),
        sources=own_table_signatures(night) if uses_own_tables else {},
    )
    return night.stage(work, _recommend, _summary)


def _inputs(night: Night) -> list[str]:
    """The tables to read: the triples only if popular movies are needed, and the model only if rules are measured."""
    spaces = search_spaces(night)
    night.run.manifests(spaces)
    facts = night.settings.recommend.needs_facts
    triples = [TRIPLES] if needs_popular(night) or has_rules(night) or facts else []
    triples += [MODEL] if has_rules(night) else []
    cleaned = cleaned_tables(night) if candidate_tables(night) or rule_tables(night) or facts else [RATINGS]
    return [*spaces, *triples, ENTITIES, SEEN, *cleaned]


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the ranked tables depend on."""
    settings = night.settings
    return {
        "recommend": settings.recommend.model_dump(),
        "audiences": settings.audiences.model_dump(),
        "similar_items": settings.similar_items.model_dump(),
        "candidates": settings.candidates.model_dump(),
        **({"rules": settings.rules.model_dump()} if settings.rules.active else {}),
        "names": settings.names.columns,
        "relations": {settings.train.target: {"where": settings.target.where}},
        "run_date": settings.run_date,
    }


def _recommend(night: Night, work: StageWork) -> None:
    layout, folders = entity_layout(night), work.begin()
    offer_files, offer_details = write_offers(night, folders)
    tasks = {name: _task(night, layout, name, work.staging) for name in ranked_tables(night)}
    kinds = {name: _write_pools(night, task, work.staging) for name, task in tasks.items()}
    _write_popular(night, layout, tasks[RECOMMENDATIONS], work.staging)
    if (rules := tasks[RECOMMENDATIONS].rules) is not None:
        for name in (*candidate_tables(night), *rule_tables(night)):
            bring_here(night.spark, work.staging / name)
        space = SearchSpace.load(Path(tasks[RECOMMENDATIONS].space))
        write_rule_files(night, Path(rules), work.staging, space)
    if (facts := tasks[RECOMMENDATIONS].facts) is not None:
        write_fact_files(night, Path(facts), work.staging / "movie_facts")
    written = _write_rankings(night, layout, tasks)
    details: dict[str, dict[str, Any]] = dict.fromkeys(offer_files, offer_details)
    for name, task in tasks.items():
        details[name] = {
            "model_id": task.constants[Columns.MODEL_ID],
            "k": task.k,
            "search": kinds[name],
            DESCRIBED: described(name, id_type(night), night.settings.names, None, extras_of(night.settings)),
        }
        if name == RECOMMENDATIONS:
            of_users = vectors_by_source(night, QUERIES)
            if tasks[name].rules is not None:
                details[name]["held_out"] = measure_rules(night, work.staging / "measured")
            details[name]["users"] = {POPULAR if of == AVERAGE else of: count for of, count in of_users.items()}
        if written[name].listed:
            details[name]["recall"] = _check_recall(night, name, written[name])
    work.commit(offer_files | {name: _table_files(night, name, table) for name, table in written.items()}, details)


def _task(night: Night, layout: EntityLayout, name: str, staging: Path) -> RankingTask:
    """The function that ranks table `name` on executors. Its pools need not be written yet."""
    settings, direction, space = night.settings, DIRECTIONS[name], night.run.table(RANKED_WITH[name])
    recommends = name == RECOMMENDATIONS
    fills = recommends and needs_popular(night)
    ranks_users = direction.item_kind == USER
    whole = not settings.candidates.restrict and (ranks_users or not vectors_by_source(night, ITEMS)[AVERAGE])
    one_exact_pool = settings.recommend.index.kind == "flat" and whole
    queries, k = layout.count(direction.query_kind), list_length(night, name)
    return RankingTask(
        space=str(space),
        side=QUERIES if ranks_users else ITEMS,
        k=k,
        queries=queries,
        queries_per_file=queries_per_file(queries, k, settings.recommend.rows_per_file),
        out=str(staging / name),
        constants={Columns.MODEL_ID: SearchSpace.load(space).model_id, Columns.DS: settings.run_date},
        query_name=settings.names.column(direction.query_column),
        item_name=settings.names.column(direction.item_column),
        reason_name=settings.names.reason_movie_id if recommends else None,
        block=settings.recommend.block,
        threads=task_cores(night.spark),
        engine=RankingDevice(settings.recommend.device, task_gpu),
        pools=None if one_exact_pool else str(staging / "pools" / name),
        popular=str(staging / "popular") if fills else None,
        rules=str(staging / "rule_files") if recommends and has_rules(night) else None,
        facts=str(staging / "fact_files") if recommends and settings.recommend.needs_facts else None,
        reason_facts=settings.recommend.reason_facts,
        reason_text=ReasonTexts(settings.recommend.reason_text, settings.recommend.reason_words)
        if settings.recommend.reason_text
        else None,
        index=settings.recommend.index,
    )


def _write_pools(night: Night, task: RankingTask, staging: Path) -> list[str]:
    """Writes the pools that a task ranks against, once for all executors; returns their kinds of search, sorted."""
    if task.pools is None:
        return ["flat"]
    whole = load_index(Path(task.space), task.side, usable_cores())
    candidates = _candidates(night, staging)
    placed = None
    if task.side == ITEMS and vectors_by_source(night, ITEMS)[AVERAGE]:
        placed = SearchSpace.load(Path(task.space)).item_sources != SOURCES.index(AVERAGE)
    of_all = task.item_name == night.settings.names.similar_movie_id
    return sorted(set(write_pools(Path(task.pools), whole, task.side, candidates, task.index, placed, of_all)))


def _write_popular(night: Night, layout: EntityLayout, task: RankingTask, staging: Path) -> None:
    """Writes the popular movies of each segment, once for all executors, if the task reads them."""
    if task.popular is None:
        return
    train, segments = night.settings.train.resolved(), night.settings.candidates.segments
    restricted = night.settings.candidates.restrict
    target = next(relation for relation in relations_of(night) if relation.name == train.target)
    likes = likes_by_segment(
        read_table(night.spark, night.run.place(TRIPLES)),
        target,
        train.learned_splits,
        layout,
        read_table(night.spark, staging / SEGMENTS) if restricted else None,
    )
    folder = staging / "likes"
    write_table(likes, folder)
    counted, candidates = bring_here(night.spark, folder), _candidates(night, staging)
    write_popular(Path(task.popular), counted, layout.count(MOVIE), candidates, segments.keys())


def _candidates(night: Night, staging: Path) -> Path | None:
    """The folder with the files of `segments` and `candidates`; None if there are none."""
    for name in candidate_tables(night):
        bring_here(night.spark, staging / name)
    return staging if night.settings.candidates.restrict else None


def _for_executors(night: Night, task: RankingTask) -> RankingTask:
    """The task with places that all executors see. What this machine has written for it is there from now on."""

    def seen(folder: str) -> str:
        return place_for_tasks(night.spark, Path(folder))

    def seen_if(folder: str | None) -> str | None:
        return None if folder is None else seen(folder)

    return replace(
        task,
        space=seen(task.space),
        out=seen(task.out),
        pools=seen_if(task.pools),
        popular=seen_if(task.popular),
        rules=seen_if(task.rules),
        facts=seen_if(task.facts),
    )


def _write_rankings(night: Night, layout: EntityLayout, tasks: Mapping[str, RankingTask]) -> dict[str, WrittenFiles]:
    """Ranks all tables in one Spark job, and writes their files."""
    stream = query_stream(
        seen_pairs(night),
        read_table(night.spark, night.run.place(ENTITIES)),
        layout,
        [DIRECTIONS[name] for name in tasks],
        id_type(night),
        night.settings.target.where or "true",
    )
    for task in tasks.values():
        Path(task.out).mkdir()
    written = write_on_executors(stream, [_for_executors(night, task) for task in tasks.values()])
    for task in tasks.values():
        discard_partial(Path(task.out))
    return dict(zip(tasks, written, strict=True))


def _table_files(night: Night, name: str, table: WrittenFiles) -> TableFiles:
    columns = columns_text(
        published_schema(name, id_type(night), night.settings.names, None, extras_of(night.settings))
    )
    return TableFiles(table.files, content_hash(columns, TableFiles(table.files).rows, table.total))


def _check_recall(night: Night, name: str, table: WrittenFiles) -> float:
    """Fraction of the sample's exact lists that the search found. Raises StageError if it is below the minimum."""
    recall = table.found / table.listed
    floor = night.settings.recommend.index.min_recall
    if recall < floor:
        raise StageError(
            f"{name}: the approximate search found {recall:.4f} of the exact lists of a sample, and "
            f"recommend.index.min_recall is {floor}; raise recommend.index.probes, breadth or refine, or set "
            "recommend.index.kind=flat"
        )
    return recall


def _summary(night: Night) -> str:
    parts = []
    for name in ranked_tables(night):
        manifest = night.run.manifest(name)
        recall = f", recall {manifest.details['recall']:.4f}" if "recall" in manifest.details else ""
        parts.append(f"{manifest.rows:,} rows of {name} (K = {manifest.details['k']}{recall})")
    without = vectors_by_source(night, QUERIES)[AVERAGE]
    names = night.settings.names
    popular = [f"popular {names.movies} for {without:,} {names.users} without a vector"] if without else []
    return "; ".join([", ".join(parts), *popular, *notes_on_rules(night), *_notes_on_lists(night)])


def _notes_on_lists(night: Night) -> list[str]:
    """What was refused or unknown in the user's tables that restrict the candidates."""
    tables = [*candidate_tables(night), *rule_tables(night)]
    details = night.run.manifest(tables[0]).details if tables else {"refused": [], "unknown_ids": []}
    refused = [str(RefusedLines(**lines)) for lines in details["refused"]]
    return refused + [str(UnknownIds(**ids)) for ids in details["unknown_ids"]]
