"""Counts over the triples, read once in batches: likes of each user and movie, and the likes of the chosen users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.graph.layout import MOVIE, USER
from kgspark.report.night_page.night import PageNight, stream
from kgspark.tables import ENTITIES, TRIPLES, Columns


@dataclass(frozen=True)
class Likes:
    """Likes of the relation to recommend by.

    of_users   int32 (U,): likes of each user
    of_movies  int64 (M,): of each movie
    pairs      int64 (n, 2): the chosen users' likes, as positions of user and movie
    """

    of_users: np.ndarray
    of_movies: np.ndarray
    pairs: np.ndarray


def count_likes(night: PageNight, users: np.ndarray) -> Likes:
    """Counts the likes, and collects those of the users at these positions."""
    first_user, first_movie = night.layout.range(USER)[0], night.layout.range(MOVIE)[0]
    of_users, of_movies = np.zeros(night.users, np.int32), np.zeros(night.movies, np.int64)
    pairs = [np.empty((0, 2), np.int64)]
    chosen = np.zeros(night.users, bool)
    chosen[users] = True
    target = pc.field(Columns.RELATION) == night.target_relation.index
    for batch in stream(night.run.table(TRIPLES), (Columns.HEAD, Columns.TAIL), target):
        heads = batch[Columns.HEAD].to_numpy() - first_user
        tails = batch[Columns.TAIL].to_numpy() - first_movie
        low = heads.min() if len(heads) else 0  # shards are sorted, so that a batch has a narrow range of users
        counts = np.bincount(heads - low)
        of_users[low : low + len(counts)] += counts.astype(np.int32)
        of_movies += np.bincount(tails, minlength=night.movies)
        kept = chosen[heads]
        pairs.append(np.column_stack([heads[kept], tails[kept]]))
    return Likes(of_users, of_movies, np.concatenate(pairs))


@dataclass(frozen=True)
class Facts:
    """The facts of some movies, to draw the graph around a user.

    of_movies  int64 (n, 3): position of the movie, index of the relation, index of the entity at the other end
    names      what each of these entities is called, by index
    kinds      and its kind
    """

    of_movies: np.ndarray
    names: dict[int, str]
    kinds: dict[int, str]


def facts_of(night: PageNight, movies: np.ndarray, most: int = 5) -> Facts:
    """At most `most` facts of each of the movies at these positions: relations from a movie to something else."""
    first = night.layout.range(MOVIE)[0]
    wanted = [it for it in night.relations if it.head_kind == MOVIE and it.tail_kind not in (MOVIE, USER)]
    if not wanted or not len(movies):
        return Facts(np.empty((0, 3), np.int64), {}, {})
    heads = pa.array(np.asarray(movies) + first)
    where = pc.field(Columns.HEAD).isin(heads) & pc.field(Columns.RELATION).isin([it.index for it in wanted])
    columns = (Columns.HEAD, Columns.RELATION, Columns.TAIL)
    parts = [np.column_stack([b[name].to_numpy() for name in columns]) for b in _triples(night, columns, where)]
    rows = np.concatenate([np.empty((0, 3), np.int64), *parts]).astype(np.int64)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    starts = np.searchsorted(rows[:, 0], rows[:, 0])
    rows = rows[np.arange(len(rows)) - starts < most]
    rows[:, 0] -= first
    return Facts(rows, *_named(night, np.unique(rows[:, 2])))


def _triples(night: PageNight, columns: Sequence[str], where: pc.Expression) -> list[pa.RecordBatch]:
    return list(stream(night.run.table(TRIPLES), columns, where))


def _named(night: PageNight, entities: np.ndarray) -> tuple[dict[int, str], dict[int, str]]:
    where = pc.field(Columns.INDEX).isin(pa.array(entities))
    columns = (Columns.INDEX, Columns.KIND, Columns.EXTERNAL_ID)
    rows = [row for batch in stream(night.run.table(ENTITIES), columns, where) for row in batch.to_pylist()]
    names = {row[Columns.INDEX]: row[Columns.EXTERNAL_ID] for row in rows}
    return names, {row[Columns.INDEX]: row[Columns.KIND] for row in rows}
