"""The lists by business rules on held-out likes, beside those of the model alone, and the time that both take.

The model is as it was before the refit, and the rules see no held-out like: the numbers of ratings and likes, and with
them boosts, candidates and movies with few ratings, are those of the other pairs.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from kgspark.graph.layout import MOVIE, USER
from kgspark.metrics.beyond_accuracy import beyond_accuracy
from kgspark.metrics.ranking import hit_matrix, ranking_metrics
from kgspark.night.held_out import HeldOut, read_held_out, space_before_refit
from kgspark.night.lists.checked_offers import offers_of
from kgspark.night.lists.rules import write_rule_files
from kgspark.night.night import Night
from kgspark.night.reads import entity_layout, held_out_metrics, id_type, relation_tables, relations_of
from kgspark.retrieval.index import build_index
from kgspark.retrieval.pool_files import load_pools, write_pools
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.ranker import Ranker
from kgspark.retrieval.rules.files import load_rules
from kgspark.retrieval.settings import IndexSettings
from kgspark.search_space import ITEMS, SearchSpace
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.graph.entities import position_of
from kgspark.spark.session import usable_cores
from kgspark.spark.stored import bring_here
from kgspark.tables import (
    AVERAGE,
    CANDIDATES,
    ENTITIES,
    MODEL,
    RATINGS,
    RECOMMENDATIONS,
    RULES,
    SEGMENTS,
    SERVED,
    SOURCES,
    TEST,
    TRIPLES,
    Columns,
)

# As for the comparison with the champion: enough for an interval of about a hundredth.
_MOST_USERS = 10_000


def measure_rules(night: Night, scratch: Path) -> dict[str, Any] | None:
    """Metrics of both, for the manifest; None if the night has none of its model (it serves another night's).

    scratch  a new folder for tables and files

    Metrics are of the first `train.validation.k` places of lists of `recommend.k`. `seconds` is the time that the lists
    of these users take on this machine, by the same exact search.
    """
    if SERVED in night.run.manifest(MODEL).details or not held_out_metrics(night):
        return None
    held_out, space = read_held_out(night), space_before_refit(night.run)
    alone, ruled = _rankers(night, scratch, space)
    users = held_out.test.limit(_MOST_USERS)
    chosen = np.flatnonzero(users.sizes)
    measured = {
        name: _measure(night, ranker, held_out, chosen)
        for name, ranker in {"model": alone, "with_rules": ruled}.items()
    }
    return {"users": len(chosen), **measured}


def notes_on_rules(night: Night) -> list[str]:
    """The NDCG on held-out likes of the model alone and with the rules, if this was measured."""
    measured = night.run.manifest(RECOMMENDATIONS).details.get("held_out")
    if measured is None:
        return []
    name = f"ndcg@{night.settings.train.resolved().validation.k}"
    alone, ruled = (measured[of][name] for of in ("model", "with_rules"))
    return [f"held-out {name.upper()} {ruled:.4f} with the rules, {alone:.4f} by the model alone"]


def _rankers(night: Night, scratch: Path, space: SearchSpace) -> tuple[Ranker, Ranker]:
    """The rankers of the model alone and by candidates and rules."""
    scratch.mkdir()
    tables = relation_tables(night)
    offers = offers_of(night, tables | {RATINGS: _without_held_out(night, tables[RATINGS])})
    frames = (
        {}
        if offers.candidates is None
        else {SEGMENTS: offers.candidates.segments, CANDIDATES: offers.candidates.movies}
    )
    frames |= {} if offers.rules is None else {RULES: offers.rules}
    for name, frame in frames.items():
        write_table(frame, scratch / name)
        bring_here(night.spark, scratch / name)
    index = build_index(space.items, space.metric, space.offset, usable_cores())
    placed = space.item_sources != SOURCES.index(AVERAGE)
    candidates = None if offers.candidates is None else scratch
    write_pools(scratch / "pools", index, ITEMS, candidates, IndexSettings(), None if placed.all() else placed)
    write_rule_files(night, scratch / "rule_files", scratch, space)
    about = index, space.items[:, : space.width or None]
    sources = space.queries, space.query_sources, space.item_sources
    ruled = Ranker(*about, load_pools(scratch / "pools", index), *sources, rules=load_rules(scratch / "rule_files"))
    return Ranker(*about, [Pool(index)], *sources), ruled


def _without_held_out(night: Night, ratings: DataFrame) -> DataFrame:
    """The ratings but those that are held out as test likes. Lazy."""
    layout, entities = entity_layout(night), read_table(night.spark, night.run.place(ENTITIES))
    target = next(relation for relation in relations_of(night) if relation.name == night.settings.train.target)
    triples = read_table(night.spark, night.run.place(TRIPLES))
    pairs = triples.where((triples[Columns.RELATION] == target.index) & (triples[Columns.SPLIT] == TEST))
    for kind, end in ((USER, Columns.HEAD), (MOVIE, Columns.TAIL)):
        known = position_of(entities, layout, kind, id_type(night))
        first = layout.range(kind)[0]
        indices = known.select(f"{kind}_id", (known[Columns.POSITION] + first).alias(end))
        pairs = pairs.join(indices, on=end, how="inner")
    names = [Columns.USER_ID, Columns.MOVIE_ID]
    return ratings.join(pairs.select(*names), on=names, how="left_anti").select(*ratings.columns)


def _measure(night: Night, ranker: Ranker, held_out: HeldOut, users: np.ndarray) -> dict[str, float]:
    known, k = held_out.histories | held_out.hidden, night.settings.train.resolved().validation.k
    length, block = max(k, night.settings.recommend.k), night.settings.recommend.block
    started, lists = time.perf_counter(), []
    for start in range(0, len(users), block):
        rows = users[start : start + block]
        lists.append(ranker.lists(rows, known.pick(rows), length)[0].ids[:, :k])
    seconds = time.perf_counter() - started
    listed, wanted = np.concatenate(lists), held_out.test.pick(users)
    hits = hit_matrix(listed, wanted.indptr, wanted.indices, held_out.movies)
    means = {name: float(values.mean()) for name, values in ranking_metrics(hits, wanted.sizes, (k,)).items()}
    figures = beyond_accuracy(listed, held_out.train.counts(held_out.movies), len(held_out.train), (k,))
    return {**means, **figures, "seconds": seconds}
