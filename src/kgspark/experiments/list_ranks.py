"""The place of each later like in the lists of a past night, and in those of each baseline on the same day.

Two tables of the past night say what is asked: `later_likes` has the likes from its date on, with their rank in its own
lists, and `seen_before` the pairs that no list of these users may repeat. For each baseline, the table `ranks-NAME` has
the rank of each later like in the baseline's list, in the same order; 0 if the list does not have it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.errors import StageError
from kgspark.experiments.past_nights import known_until
from kgspark.experiments.recommenders import as_recommender
from kgspark.files import TableFiles, describe_folder
from kgspark.graph.histories import Histories
from kgspark.graph.layout import MOVIE, USER
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, entity_layout, id_type, knowledge_graph, seen_pairs
from kgspark.peers.baselines import Likes, Recommender, fit_baseline
from kgspark.retrieval.topk import top_k_of_scores
from kgspark.runs import Outcome, StageWork
from kgspark.spark import later_likes
from kgspark.spark.frames import read_table, write_table
from kgspark.spark.graph.entities import position_of
from kgspark.spark.ranking.audit.counts import with_our_names
from kgspark.tables import (
    ENTITIES,
    MOVIES,
    RATINGS,
    RECOMMENDATIONS,
    SEEN,
    TEST,
    TRAIN,
    TRIPLES,
    USERS,
    VALID,
    Columns,
)

LATER, SEEN_BEFORE = "later_likes", "seen_before"
# Scores in memory at once: 32 MiB of float32, and a few times as much while they are ranked.
_CELLS = 1 << 23


@dataclass(frozen=True)
class LaterLikes:
    """The likes after a past night, one entry each.

    user_ids, movie_ids  external ids
    users, movies        positions int64 (n,) in the night's kinds; -1 for one that the night did not know
    days                 int64 (n,): 1 for a like on the date itself
    ranks                int64 (n,): place in the night's own lists, from 1; 0 outside
    """

    user_ids: pa.Array
    movie_ids: pa.Array
    users: np.ndarray
    movies: np.ndarray
    days: np.ndarray
    ranks: np.ndarray

    @property
    def reachable(self) -> np.ndarray:
        """Mask bool (n,) of the likes that a list of the night can have."""
        return (self.users >= 0) & (self.movies >= 0)


def find(night: Night, past: Night) -> Outcome:
    """Writes both tables of a ranked past night unless they are current; `night` has all clean ratings."""
    work = StageWork.plan(
        past.run,
        "later-likes",
        reads=(RECOMMENDATIONS, TRIPLES, ENTITIES, SEEN, *cleaned_tables(past)),
        writes=(LATER, SEEN_BEFORE),
        settings={"days": max(past.settings.evaluate.days), "where": past.settings.target.where},
        sources={RATINGS: night.run.manifest(RATINGS).fingerprint},
    )
    return past.stage(work, partial(_find, night=night), _found)


def rank(past: Night, name: str, likes: Callable[[], Histories]) -> Outcome:
    """Fits the baseline `name` on the likes before the date, and ranks by it, unless that is done.

    likes  reads them
    """
    settings = past.settings
    work = StageWork.plan(
        past.run,
        name,
        reads=(LATER, SEEN_BEFORE, TRIPLES, ENTITIES),
        writes=(_ranks_of(name),),
        settings={
            "k": max(settings.evaluate.ks),
            "target": settings.train.target,
            "peers": settings.evaluate.peers.model_dump(),
            "seed": settings.train.seed,
        },
    )
    return past.stage(work, partial(_rank, name=name, likes=likes), partial(_ranked, name=name))


def read_likes(past: Night) -> Histories:
    """All likes before the date."""
    graph = knowledge_graph(past)
    return graph.histories(graph.relation(past.settings.train.target), (TRAIN, VALID, TEST))


def read_later_likes(past: Night) -> LaterLikes:
    """The table `later_likes`."""
    table = _read(past, LATER)

    def numbers(column: str, missing: int) -> np.ndarray:
        return pc.fill_null(table[column], missing).to_numpy().astype(np.int64)

    return LaterLikes(
        table[Columns.USER_ID].combine_chunks(),
        table[Columns.MOVIE_ID].combine_chunks(),
        numbers(later_likes.USER, -1),
        numbers(later_likes.MOVIE, -1),
        numbers(later_likes.DAY, 0),
        numbers(Columns.RANK, 0),
    )


def read_ranks(past: Night, name: str) -> np.ndarray:
    """The rank of each later like in the lists of a baseline, int64 (n,); 0 outside."""
    return _read(past, _ranks_of(name))[Columns.RANK].to_numpy().astype(np.int64)


def _find(past: Night, work: StageWork, night: Night) -> None:
    start, session = known_until(past), night.spark
    _check_past(past, start)
    tables = {name: read_table(session, past.run.place(name)) for name in (ENTITIES, RECOMMENDATIONS)}
    layout, ids = entity_layout(past), id_type(past)
    users, movies = (position_of(tables[ENTITIES], layout, kind, ids) for kind in (USER, MOVIE))
    ratings = read_table(session, night.run.place(RATINGS))
    liked = later_likes.liked_ratings(ratings, past.settings.target.where)
    days = max(past.settings.evaluate.days)
    folders = work.begin()
    lists = with_our_names(tables[RECOMMENDATIONS], past.settings.names)
    later = later_likes.likes_from(liked, start, days, users, movies, lists)
    files = {LATER: write_table(later, folders[LATER])}
    pairs = later_likes.seen_by(read_table(session, folders[LATER]), seen_pairs(past), users, movies)
    files[SEEN_BEFORE] = write_table(pairs, folders[SEEN_BEFORE])
    work.commit(files, {})


def _check_past(past: Night, start: int) -> None:
    """StageError if a table that the night learned from has a row of its date or later."""
    timed = [name for name in (*cleaned_tables(past), TRIPLES) if name not in (MOVIES, USERS)]
    for name in timed:
        latest = later_likes.find_latest([read_table(past.spark, past.run.place(name))])
        if latest is not None and latest >= start:
            raise StageError(
                f"{past.run.place(name)}: a row is of second {latest}, and the night of {past.settings.run_date} knows "
                f"what was before second {start} only; remove {past.run.folder} and evaluate again"
            )


def _found(past: Night) -> str:
    later = read_later_likes(past)
    days, reachable, names = max(past.settings.evaluate.days), later.reachable, past.settings.names
    return (
        f"{len(later.days):,} likes in {days} days from {past.settings.run_date}, {reachable.sum():,} of them of known "
        f"{names.users} and {names.movies}; {np.count_nonzero(later.ranks):,} are in the lists"
    )


def _rank(past: Night, work: StageWork, name: str, likes: Callable[[], Histories]) -> None:
    settings, layout = past.settings, entity_layout(past)
    given = Likes(
        likes(), layout.count(MOVIE), settings.evaluate.peers, settings.train.seed, session=lambda: past.spark
    )
    recommender = as_recommender(fit_baseline(name, given))
    ranks = _places(
        recommender, read_later_likes(past), _read(past, SEEN_BEFORE), given.movies, max(settings.evaluate.ks)
    )
    (folder,) = work.begin().values()
    folder.mkdir()
    pq.write_table(pa.table({Columns.RANK: pa.array(ranks, pa.int32())}), folder / "part-00000.parquet")
    work.commit({_ranks_of(name): TableFiles(describe_folder(folder))}, {})


def _places(recommender: Recommender, later: LaterLikes, seen: pa.Table, movies: int, k: int) -> np.ndarray:
    """The rank of each later like among the k best unseen movies of its user, int64 (n,); 0 outside."""
    asked = np.flatnonzero(later.reachable)
    users, rows = np.unique(later.users[asked], return_inverse=True)
    histories = _histories(seen, users)
    asked, rows = asked[(order := np.argsort(rows, kind="stable"))], rows[order]
    ranks, step = np.zeros(len(later.users), np.int64), max(1, _CELLS // max(movies, 1))
    for start in range(0, len(users), step):
        block = np.arange(start, min(start + step, len(users)))
        lists = top_k_of_scores(recommender.scores(users[block]), histories.pick(block), k).ids
        own = slice(*np.searchsorted(rows, (start, start + step)))
        found = lists[rows[own] - start] == later.movies[asked[own], None]
        ranks[asked[own]] = np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)
    return ranks


def _histories(seen: pa.Table, users: np.ndarray) -> Histories:
    """The seen movies of the positions `users` int64 (U,), from pairs that are sorted by user."""
    owners, movies = (seen[name].to_numpy() for name in (later_likes.USER, later_likes.MOVIE))
    sizes = np.bincount(owners, minlength=int(users.max(initial=-1)) + 1)
    return Histories.from_sizes(sizes, movies).pick(users)


def _ranked(past: Night, name: str) -> str:
    return f"{np.count_nonzero(read_ranks(past, name)):,} later likes are in its lists"


def _ranks_of(name: str) -> str:
    return f"ranks-{name}"


def _read(past: Night, name: str) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, _parts(past.run.table(name))))


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))
