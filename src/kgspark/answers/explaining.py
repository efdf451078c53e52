"""Why a movie has its score for a user: the nearest likes, the facts that they share with it, and their shares."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kgspark.answers.material import Material
from kgspark.answers.paths import SharedFact, shared_facts
from kgspark.answers.ranking import MovieRanking, Queries
from kgspark.answers.shares import shares_of, usable
from kgspark.errors import InputError
from kgspark.fold_in import QueryFunction
from kgspark.graph.histories import Histories
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, SOURCES, Columns


@dataclass(frozen=True)
class LikedMovie:
    """A like behind a score.

    likeness  cosine of the model's vectors of both movies, at most 1
    share     of the score; None if the score cannot be divided
    facts     what both movies have in common in the knowledge graph
    """

    movie: Any
    title: str
    likeness: float
    share: float | None
    facts: tuple[SharedFact, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a movie has its score for a user.

    score   of the model, float; None if it has no vector for one of the two
    rank    the movie's place among all that may be listed for the user, by business rules, if there are some; None if
            it may not be listed
    source  what ranks it there: of `tables.ROW_SOURCES`, or pinned or explored
    state   offered, seen (the user has rated or seen it), or not offered (to the user's segment)
    liked   the nearest likes, those with the largest likeness first
    other_likes  sum of the shares of the likes that are not shown, and `other_count`, their number
    trend   what the score has because the movie is popular of late
    rest    the rest of the query: what the likes do not explain. The shares, `trend` and `rest` sum up to `score`
    divided  False if the model's score is no function of likes, so that `rest` is all of it
    """

    user: Any
    movie: Any
    title: str
    score: float | None
    rank: int | None
    state: str
    source: str
    liked: tuple[LikedMovie, ...]
    other_likes: float
    other_count: int
    trend: float
    rest: float
    divided: bool

    def as_json(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return asdict(self)


def explain(material: Material, ranking: MovieRanking, user: int, movie: int, nearest: int) -> Explanation:
    """The explanation for the user and the movie at two positions, with the `nearest` likes."""
    space, movie_id = material.space, material.movie_ids[movie].as_py()
    pairs = material.pairs(np.array([user]))
    sources = int(space.query_sources[user]), int(space.item_sources[movie])
    learned = _placed(space, pairs.learned)
    shares = None if _AVERAGE in sources else shares_of(space, _function(material), user, movie, learned)
    of_likes = {} if shares is None else dict(zip(learned.indices.tolist(), shares.likes.tolist(), strict=True))
    divided = shares is not None and shares.divided
    liked = _nearest(material, movie, _placed(space, pairs.liked), nearest, of_likes if divided else None)
    shown = {like.position for like in liked}
    rank, state, source = _place(material, ranking, user, movie, pairs.seen)
    return Explanation(
        user=material.user_ids[user].as_py(),
        movie=movie_id,
        title=material.titles().get(movie_id, ""),
        score=None if shares is None else shares.score,
        rank=rank,
        state=state,
        source=source or SOURCES[min(sources)],
        liked=tuple(like.named for like in liked),
        other_likes=sum(share for row, share in of_likes.items() if row not in shown),
        other_count=len(of_likes.keys() - shown),
        trend=0.0 if shares is None else shares.trend,
        rest=0.0 if shares is None else shares.rest,
        divided=divided,
    )


_AVERAGE = SOURCES.index(AVERAGE)


@dataclass(frozen=True)
class _Like:
    position: int
    named: LikedMovie


def _nearest(
    material: Material, movie: int, likes: Histories, count: int, shares: Mapping[int, float] | None
) -> list[_Like]:
    """The likes that are most like the movie, but not the movie itself; `shares` by position."""
    likeness, titles = _likeness(material.space, movie, likes.indices), material.titles()
    order = np.lexsort((likes.indices, -likeness))
    order = order[likes.indices[order] != movie][:count]
    rows = [int(row) for row in likes.indices[order]]
    facts = shared_facts(material, movie, rows)
    found = []
    for row, likeness_of_row in zip(rows, likeness[order].tolist(), strict=True):
        movie_id = material.movie_ids[row].as_py()
        share = None if shares is None else shares.get(row, 0.0)
        found.append(_Like(row, LikedMovie(movie_id, titles.get(movie_id, ""), likeness_of_row, share, facts[row])))
    return found


def _function(material: Material) -> QueryFunction | None:
    try:
        return usable(material.fold_in().function)
    except InputError:  # this model has none, or one that needs more than likes' items
        return None


def _placed(space: SearchSpace, likes: Histories) -> Histories:
    """The likes whose movie has a vector."""
    return likes.where(space.item_sources[likes.indices] != _AVERAGE)


def _likeness(space: SearchSpace, movie: int, others: np.ndarray) -> np.ndarray:
    """Cosines float64 (n,) of the vectors of a movie and of others, as of `similar_items`."""
    width = space.scoring.width
    one, many = np.asarray(space.items[movie, :width], np.float64), np.asarray(space.items[others, :width], np.float64)
    lengths = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return np.asarray(many @ one / np.where(lengths > 0, lengths, 1))


def _place(
    material: Material, ranking: MovieRanking, user: int, movie: int, seen: Histories
) -> tuple[int | None, str, str]:
    """The rank of a movie among all that may be listed for the user, the state of the pair, and what ranks it."""
    if (seen.indices == movie).any():
        return None, "seen", ""
    if not ranking.is_offered(user, movie):
        return None, "not offered", ""
    queries = Queries(np.array([user]), material.user_ids.slice(user, 1), seen, Histories.empty(1))
    whole = ranking.recommend(queries, len(material.movie_ids))
    names = material.described.names
    rows = whole[names.column(Columns.MOVIE_ID)].combine_chunks()
    at = rows.index(pa.scalar(material.movie_ids[movie].as_py(), rows.type)).as_py()
    return (None, "offered", "") if at < 0 else (at + 1, "offered", whole[Columns.SOURCE][at].as_py())
