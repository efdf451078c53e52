"""evaluate: the night's model and baselines on the same held-out likes, through the same ranking and metrics."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kgspark.entity_layout import MOVIE, USER
from kgspark.errors import StageError
from kgspark.kge.export import export_search_space
from kgspark.kge.model_files import load_model
from kgspark.kge.shards import Csr, read_triples
from kgspark.metrics import hit_matrix, mean_metrics
from kgspark.retrieval.histories import Histories
from kgspark.retrieval.index import build_index
from kgspark.retrieval.topk import top_k
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores
from kgspark.stages.index_entities import entity_layout
from kgspark.stages.night import Night
from kgspark.stages.train_embeddings import measured_file
from kgspark.tables import MODEL, TEST, TRAIN, TRIPLES, VALID, Relation

_USERS_AT_A_TIME = 4096


@dataclass(frozen=True)
class HeldOut:
    """Likes of all users, by movie position: what was trained on, and what is to be found."""

    train: Csr
    test: Csr
    users: int
    movies: int


def run(night: Night) -> None:
    """Measures the model and `evaluate.baselines`; `--json` prints the rows."""
    settings = night.settings
    held_out = read_held_out(night)
    makers: dict[str, Callable[[], SearchSpace]] = {"kgspark": partial(_measured, night)}
    makers |= {name: partial(_baseline, night, held_out, name) for name in settings.evaluate.baselines}
    rows = []
    for name, make in makers.items():
        started = time.perf_counter()
        space = make()
        fitted = time.perf_counter()
        figures = measure(space, held_out, settings.evaluate.ks)
        row: dict[str, Any] = {"model": name, "seed": settings.train.seed, **figures}
        row |= {"fit_seconds": fitted - started, "seconds": time.perf_counter() - started}
        rows.append(row)
        night.say(_line(name, figures))
    rows[0]["fit_seconds"] = night.run.manifest(MODEL).details["training"]["seconds"]
    night.result = {
        "protocol": settings.split.protocol,
        "run_date": settings.run_date,
        "data": {
            "users": held_out.users,
            "movies": held_out.movies,
            "train": len(held_out.train.tails),
            "test": len(held_out.test.tails),
            "test_users": int((np.diff(held_out.test.indptr) > 0).sum()),
        },
        "rows": rows,
    }


def _measured(night: Night) -> SearchSpace:
    """The night's vectors as they were before the refit that let them see the held-out likes."""
    saved = load_model(measured_file(night.run))
    triples = read_triples(night.run.table(TRIPLES), saved.layout, saved.relations)
    settings = saved.settings.model_copy(update={"refit_epochs": 0})
    return export_search_space(saved.build(), saved.layout, saved.relations, settings, triples)


def read_held_out(night: Night) -> HeldOut:
    """Train (with validation) and test likes; StageError where the split holds nothing out."""
    layout = entity_layout(night)
    relations = [Relation.from_json(value) for value in night.run.manifest(TRIPLES).details["relations"]]
    target = next(relation for relation in relations if relation.name == night.settings.train.target)
    triples = read_triples(night.run.table(TRIPLES), layout, relations)
    test = triples.csr(target, layout, (TEST,))
    if not len(test.tails):
        raise StageError(
            f"split.protocol={night.settings.split.protocol} holds no like out, so nothing can be measured"
        )
    train = triples.csr(target, layout, (TRAIN, VALID))
    return HeldOut(train, test, layout.count(USER), layout.count(MOVIE))


def measure(space: SearchSpace, held_out: HeldOut, ks: Sequence[int]) -> dict[str, float]:
    """Mean metrics over users with a held-out like; all movies are ranked, but for those liked in training."""
    index = build_index(space.items, space.metric, space.offset, usable_cores())
    asking = np.flatnonzero(np.diff(held_out.test.indptr))
    hits = []
    for start in range(0, len(asking), _USERS_AT_A_TIME):
        users = asking[start : start + _USERS_AT_A_TIME]
        seen, wanted = held_out.train.rows(users), held_out.test.rows(users)
        ranking = top_k(index, np.asarray(space.queries[users]), Histories(seen.indptr, seen.tails), max(ks))
        hits.append(hit_matrix(ranking.ids, wanted.indptr, wanted.tails, held_out.movies))
    return mean_metrics(np.concatenate(hits), np.diff(held_out.test.indptr)[asking], ks)


def popularity(held_out: HeldOut) -> SearchSpace:
    """Everybody is recommended what most train likes name, ties by position, as vectors of one dimension."""
    counts = np.bincount(held_out.train.tails, minlength=held_out.movies)
    place = np.empty(held_out.movies, np.float32)
    place[np.argsort(-counts, kind="stable")] = np.arange(held_out.movies, 0, -1)
    everybody = np.ones((held_out.users, 1), np.float32)
    return SearchSpace(everybody, place[:, None], np.zeros(held_out.users, bool), "inner_product")


def _baseline(night: Night, held_out: HeldOut, name: str) -> SearchSpace:
    if name == "popularity":
        return popularity(held_out)
    train, seed = held_out.train, night.settings.train.seed
    if name == "implicit-als":
        from kgspark.peers import implicit_als

        return implicit_als.fit(
            train.indptr, train.tails, held_out.movies, factors=64, iterations=15, alpha=10.0, seed=seed
        )
    from kgspark.spark import mllib_als
    from kgspark.spark.frames import pairs_frame

    users = np.repeat(np.arange(held_out.users), np.diff(train.indptr))
    likes = pairs_frame(night.spark, users, train.tails)
    model = mllib_als.fit(likes, rank=64, iterations=10, alpha=10.0, seed=seed)
    return mllib_als.search_space(model, held_out.users, held_out.movies)


def _line(name: str, figures: dict[str, float]) -> str:
    return f"{name:<14}" + "".join(f"  {key} {value:.4f}" for key, value in figures.items() if key.endswith("@10"))
