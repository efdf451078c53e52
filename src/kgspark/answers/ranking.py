"""Ranks lists for some users at a time, by the code and to the bits of a night's bulk ranking."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from kgspark.answers.material import Material, Offer
from kgspark.graph.histories import Histories
from kgspark.published_schemas import DS_TYPE
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.popular import PopularList
from kgspark.retrieval.query_blocks import QueryBlock
from kgspark.retrieval.ranker import Ranker
from kgspark.retrieval.ranking_task import Opened, RankingTask
from kgspark.retrieval.rules.placed import MoviesOfUsers
from kgspark.retrieval.rules.rules import Rules
from kgspark.search_space import ITEMS, SearchSpace
from kgspark.spark.ranking.settings import REST
from kgspark.tables import AVERAGE, FACTS, SOURCES, Columns

# Queries ranked at a time; bounds the memory, and never changes a value.
_BLOCK = 4096


@dataclass(frozen=True)
class Queries:
    """Q queries to rank for.

    positions  int64 (Q,): rows of the vectors of the queries
    ids        their external ids (Q,)
    seen, liked  positions of movies, one list per query
    """

    positions: np.ndarray
    ids: pa.Array
    seen: Histories
    liked: Histories

    def blocks(self) -> Iterator[QueryBlock]:
        """The queries, some at a time."""
        for start in range(0, len(self.positions), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self.positions)))
            yield QueryBlock(
                self.positions[rows], self.ids.take(pa.array(rows)), self.seen.pick(rows), self.liked.pick(rows)
            )


class MovieRanking:
    """Lists of movies for users: with the night's candidates, and popular movies where vectors are missing."""

    def __init__(self, material: Material) -> None:
        self._material = material
        space = material.space
        self._index = build_index(space.items, space.metric, space.offset, _cores())
        self._placed = space.item_sources != SOURCES.index(AVERAGE)
        self._offers = material.offers()
        self._users_of = {offer.segment: offer.users for offer in self._offers}
        self._fills = not (self._placed.all() and (space.query_sources != SOURCES.index(AVERAGE)).all())
        self._rules = material.rules()
        self._all: Opened | None = None

    def recommend(self, queries: Queries, k: int, among: np.ndarray | None = None) -> pa.Table:
        """The published columns, by query and rank.

        among  positions of the movies that may be listed, int64, sorted; None for all that are offered
        """
        if among is not None:
            opened = self._open(self._offers, among)
        else:
            opened = self._all = self._all or self._open(self._offers, None)
        return self._rank(opened, queries, k)

    def for_vectors(
        self, vectors: np.ndarray, queries: Queries, k: int, segment: str = REST, among: np.ndarray | None = None
    ) -> pa.Table:
        """The same for queries float32 (Q, d) that are not in the night, with the candidates of a segment.

        Movies that rules place for users of the night are not placed. Raises KeyError for an unknown segment.
        """
        offer = next((offer for offer in self._offers if offer.segment == segment), None)
        if offer is None:
            raise KeyError(segment)
        opened = self._open([replace(offer, users=None)], among)
        sources = np.full(len(vectors), SOURCES.index(FACTS), np.uint8)
        rules = self._rules and replace(self._rules, pins=(), draw=None)
        ranker = replace(opened.ranker, queries=vectors, query_sources=sources, rules=rules)
        return self._rank(Opened(ranker, opened.ids, queries.ids), queries, k)

    @property
    def segments(self) -> list[str]:
        """The names of the segments."""
        return [offer.segment for offer in self._offers]

    def is_offered(self, user: int, movie: int) -> bool:
        """True if the movie at a position may be recommended to the user at a position."""
        return any(_has(offer.users, user) and _has(offer.movies, movie) for offer in self._offers)

    def _rank(self, opened: Opened, queries: Queries, k: int) -> pa.Table:
        material, names = self._material, self._material.described.names
        task = _task(
            k,
            query_name=names.column(Columns.USER_ID),
            item_name=names.column(Columns.MOVIE_ID),
            reason_name=names.column(Columns.REASON),
        )
        return _with_constants([task.rank_block(opened, block) for block in queries.blocks()], material)

    def _open(self, offers: Sequence[Offer], among: np.ndarray | None) -> Opened:
        space = self._material.space
        whole = len(offers) == 1 and offers[0].movies is None and among is None and bool(self._placed.all())
        pools = [Pool(self._index, queries=offers[0].users)] if whole else list(self._pools(offers, among))
        popular = list(self._popular(offers, among)) if self._fills else []
        ranker = Ranker(
            self._index,
            space.items[:, : space.width or None],
            pools,
            space.queries,
            space.query_sources,
            space.item_sources,
            popular,
            self._rules if self._rules is None or among is None else _of_movies(self._rules, among),
        )
        return Opened(ranker, self._material.movie_ids, self._material.user_ids)

    def _pools(self, offers: Sequence[Offer], among: np.ndarray | None) -> Iterator[Pool]:
        for offer in offers:
            offered = self._offered(offer, among)
            offered = offered[self._placed[offered]]
            if len(offered):
                yield Pool(part_of(self._index, offered), offered, offer.users)

    def _popular(self, offers: Sequence[Offer], among: np.ndarray | None) -> Iterator[PopularList]:
        users, movies = self._material.likes()
        count, own = len(self._material.movie_ids), self._material.described.own_popularity
        overall = np.bincount(movies, minlength=count)
        for offer in offers:
            of_segment = None
            users_of = self._users_of[offer.segment]
            if offer.segment in own and users_of is not None:
                chosen = np.isin(users, users_of)
                of_segment = np.bincount(movies[chosen], minlength=count) if chosen.any() else None
            yield PopularList.of(overall, of_segment, self._offered(offer, among), offer.users)

    def _offered(self, offer: Offer, among: np.ndarray | None) -> np.ndarray:
        offered = np.arange(len(self._index)) if offer.movies is None else offer.movies
        return offered if among is None else offered[np.isin(offered, among)]


class SimilarRanking:
    """Lists of movies for movies, by the cosine of their vectors; those that nobody is offered are left out."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._space: SearchSpace = material.similar_space()
        self._index = build_index(self._space.items, self._space.metric, self._space.offset, _cores())
        placed = self._space.item_sources != SOURCES.index(AVERAGE)
        offered = np.zeros(len(placed), bool)
        for offer in material.offers():
            offered[slice(None) if offer.movies is None else offer.movies] = True
        chosen = np.flatnonzero(placed & offered)
        self._pool = Pool(self._index)
        if len(chosen) < len(placed):
            self._pool = Pool(part_of(self._index, chosen), chosen)

    def similar(self, movies: np.ndarray, k: int) -> pa.Table:
        """The published columns, for the movies at the positions int64 (n,), by rank."""
        space, ids, names = self._space, self._material.movie_ids, self._material.described.names
        itself = Histories.of([[int(movie)] for movie in movies])
        queries = Queries(movies, ids.take(pa.array(movies)), itself, Histories.empty(len(movies)))
        sources = space.query_sources, space.item_sources
        opened = Opened(Ranker(self._index, space.items, [self._pool], space.queries, *sources), ids, ids)
        task = _task(k, query_name=names.column(Columns.MOVIE_ID), item_name=names.column(Columns.SIMILAR))
        return _with_constants([task.rank_block(opened, block) for block in queries.blocks()], self._material)


def part_of(index: FlatIndex, rows: np.ndarray) -> FlatIndex:
    """The index over some rows of another one, whose scores are the same bits."""
    return build_index(index.vectors[rows], index.metric, index.offset, index.threads)


def _of_movies(rules: Rules, movies: np.ndarray) -> Rules:
    """The rules, which place movies at the positions `movies` only."""

    def some(lists: Sequence[MoviesOfUsers]) -> tuple[MoviesOfUsers, ...]:
        return tuple(replace(each, movies=each.movies[np.isin(each.movies, movies)]) for each in lists)

    draw = (
        None
        if rules.draw is None
        else replace(rules.draw, lists=[it for it in some(rules.draw.lists) if len(it.movies)])
    )
    return replace(rules, pins=some(rules.pins), draw=draw)


def _task(k: int, query_name: str, item_name: str, reason_name: str | None = None) -> RankingTask:
    """A task without files, of which only the ranking of a block is used."""
    return RankingTask(
        space="",
        side=ITEMS,
        k=k,
        queries=0,
        queries_per_file=1,
        out="",
        query_name=query_name,
        item_name=item_name,
        reason_name=reason_name,
    )


def _with_constants(batches: Sequence[pa.RecordBatch], material: Material) -> pa.Table:
    table = pa.Table.from_batches(batches)
    model = pa.repeat(pa.scalar(material.space.model_id), table.num_rows)
    date = pa.repeat(pa.scalar(material.described.date), table.num_rows)
    return table.append_column(Columns.MODEL_ID, model).append_column(Columns.DS, date.cast(DS_TYPE))


def _has(chosen: np.ndarray | None, position: int) -> bool:
    return chosen is None or bool((chosen == position).any())


def _cores() -> int:
    return len(os.sched_getaffinity(0))
