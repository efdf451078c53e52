"""bench audiences: a night's audiences on held-out likes, by the model's own score and by scores comparable between
users.

Choose `train.export.audience_activity` with `split=valid`. The test likes show what the choice is worth.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from kgspark.bench.common import Row, Say
from kgspark.bench.lists.night_side import read_seen
from kgspark.config import Settings
from kgspark.graph.histories import Histories
from kgspark.graph.shards import read_graph
from kgspark.kge.export.audience import audience_space
from kgspark.kge.export.model_files import load_model, measured_file
from kgspark.metrics.beyond_accuracy import beyond_accuracy
from kgspark.metrics.ranking import hit_matrix, means, ranking_metrics
from kgspark.night.held_out import space_before_refit
from kgspark.retrieval.index import build_index
from kgspark.retrieval.topk import top_k
from kgspark.runs import Run
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, read_ids
from kgspark.spark.session import usable_cores
from kgspark.tables import MODEL, SEARCH_SPACE, TRAIN, TRIPLES, VALID


class AudiencesBenchSettings(Settings):
    """`kgspark bench audiences`: the users that a night finds for each movie, with its model before the refit."""

    night: Path = Field(description="a night's folder, <lake>/runs/<run_date>")
    split: Literal["valid", "test"] = Field("test", description="held-out likes to find")
    k: int = Field(10, ge=1, description="length of the audiences")
    activities: tuple[float, ...] = Field((0, 0.5, 1), description="values of train.export.audience_activity")


SETTINGS = AudiencesBenchSettings


def run(settings: AudiencesBenchSettings, say: Say) -> Row:
    """One row per score: accuracy over the movies with a held-out like, concentration over all movies."""
    night = Run(settings.night.parent.parent, settings.night.name)
    night.manifests((MODEL, SEARCH_SPACE))
    saved = load_model(measured_file(night.table(MODEL)))
    graph = read_graph(night.table(TRIPLES), saved.layout, saved.relations)
    target = graph.relation(saved.settings.target)
    likes, wanted = (graph.histories(target, (split,)) for split in (TRAIN, settings.split))
    found = _by_movie(wanted, graph.layout.count(target.tail_kind))
    names = {side: read_ids(night.table(SEARCH_SPACE), side) for side in (ITEMS, QUERIES)}
    hidden = _without(read_seen(night.folder, names), found)
    rows: list[Row] = []
    say(f"bench audiences: {settings.night}, {len(hidden):,} movies, {len(likes):,} users, {settings.split} likes")
    space = space_before_refit(night, (TRAIN,) if settings.split == VALID else (TRAIN, VALID))
    for name, scored in _spaces(space, likes.sizes, saved.settings.temperature, settings).items():
        rows.append({"score": name, **_measure(scored, hidden, found, likes.sizes, settings.k)})
        say(_line(rows[-1], settings.k))
    return {"rows": rows}


def _spaces(
    own: SearchSpace, likes: np.ndarray, temperature: float, settings: AudiencesBenchSettings
) -> Mapping[str, SearchSpace]:
    comparable = partial(audience_space, own, likes, temperature, device=torch.device("cpu"))
    counts, same = likes.astype(np.float32)[:, None], np.ones((len(own.items), 1), np.float32)
    return {
        "the model's own": own,
        **{f"comparable, activity {activity:g}": comparable(activity) for activity in settings.activities},
        "popularity of users": SearchSpace.learned(counts, same, "inner_product"),
    }


def _by_movie(likes: Histories, movies: int) -> Histories:
    """The users, in rising order, who like each movie."""
    order = np.argsort(likes.indices, kind="stable")
    return Histories.from_sizes(np.bincount(likes.indices, minlength=movies), likes.rows()[order])


def _without(lists: Histories, others: Histories) -> Histories:
    """`lists` without the entries that are in the row's list of `others`."""
    width = 1 + max(int(part.indices.max(initial=0)) for part in (lists, others))
    keys, left_out = (part.rows() * width + part.indices for part in (lists, others))
    return lists.where(~np.isin(keys, left_out))


def _measure(space: SearchSpace, hidden: Histories, wanted: Histories, likes: np.ndarray, k: int) -> Row:
    """Figures of every movie's k best users without `hidden`; `wanted` are those to find, both by movie."""
    index = build_index(space.queries, space.metric, space.offset, usable_cores())
    lists = top_k(index, space.items, hidden, k).ids
    hits = hit_matrix(lists, wanted.indptr, wanted.indices, len(likes))
    accuracy = means(ranking_metrics(hits, wanted.sizes, (k,)))
    spread = beyond_accuracy(lists, likes, len(lists), (k,))
    listed = np.bincount(lists[lists >= 0], minlength=len(likes))
    return {
        "ndcg": accuracy[f"ndcg@{k}"],
        "precision": accuracy[f"precision@{k}"],
        "distinct_users": spread[f"coverage@{k}"],
        "gini": spread[f"gini@{k}"],
        "most_frequent_user": float(listed.max(initial=0) / max(len(lists), 1)),
    }


def _line(row: Row, k: int) -> str:
    return (
        f"{row['score']:<26}NDCG@{k} {row['ndcg']:.4f}  precision@{k} {row['precision']:.4f}"
        f"  distinct users {row['distinct_users']:7.2%}  Gini {row['gini']:.3f}"
        f"  one user in {row['most_frequent_user']:7.2%} of the lists"
    )
