"""Lists by business rules equal those of a reference that looks at all movies one by one, for any rules."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kgspark.graph.histories import Histories
from kgspark.retrieval.index import build_index
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.popular import PopularList
from kgspark.retrieval.ranker import Ranker
from kgspark.retrieval.rules.boosts import Boosts
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.rules.placed import Draw, MoviesOfUsers
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.retrieval.rules.rules import Rules
from kgspark.tables import ROW_SOURCES, SOURCES

USERS = 7


@dataclass(frozen=True)
class World:
    """Vectors of small whole numbers, so that scores and cosines of the reference are the same to the bit."""

    ranker: Ranker
    seen: list[set[int]]
    k: int
    # Of the reference: each movie's groups by rule, and the pins and few-rated movies of each user.
    groups: list[list[set[str]]] = field(default_factory=list)
    pins: list[list[int]] = field(default_factory=list)

    @property
    def histories(self) -> Histories:
        return Histories.of([sorted(seen) for seen in self.seen])

    def lists(self, rows: np.ndarray | None = None) -> tuple[Any, np.ndarray]:
        rows = np.arange(USERS) if rows is None else rows
        return self.ranker.lists(rows, self.histories.pick(rows), self.k)


def make_caps(groups: list[list[set[str]]], at_most: tuple[int, ...]) -> Caps:
    names = sorted({(rule, name) for of_movie in groups for rule, each in enumerate(of_movie) for name in each})
    widest = max([1, *(sum(map(len, of_movie)) for of_movie in groups)])
    padded = np.full((len(groups), widest), len(names), np.int32)
    for movie, of_movie in enumerate(groups):
        mine = [names.index((rule, name)) for rule, each in enumerate(of_movie) for name in sorted(each)]
        padded[movie, : len(mine)] = mine
    return Caps(padded, np.array([*(at_most[rule] for rule, _ in names), 2**31 - 1]))


@st.composite
def worlds(draw: Any) -> World:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    movies, k, dim = draw(st.integers(1, 60)), draw(st.integers(1, 12)), 3
    items = rng.integers(-3, 4, (movies, dim)).astype(np.float32)
    queries = rng.integers(-3, 4, (USERS, dim)).astype(np.float32)
    seen = [set(rng.permutation(movies)[: rng.integers(0, movies + 1)].tolist()) for _ in range(USERS)]
    sources = rng.integers(1, 3, movies).astype(np.uint8)
    of_users = rng.integers(0, 3, USERS).astype(np.uint8)
    with_popular = draw(st.booleans())
    pools, popular = [Pool(build_index(items, "inner_product"))], []
    if with_popular:
        sources[rng.random(movies) < 0.2] = 0
        placed = np.flatnonzero(sources)
        pools = [Pool(build_index(items[placed], "inner_product"), placed)] if len(placed) else []
        popular = [PopularList.of(rng.integers(0, 5, movies), None, np.arange(movies))]
    boosts = caps = scattered = None
    groups: list[list[set[str]]] = []
    at_most: tuple[int, ...] = ()
    if draw(st.booleans()):
        boosts = Boosts(
            2.0 ** rng.integers(-1, 3, movies).astype(np.float32), rng.integers(-3, 4, movies).astype(np.float32)
        )
    if draw(st.booleans()):
        at_most = tuple(rng.integers(1, 4, draw(st.integers(1, 2))).tolist())
        groups = [
            [set(rng.permutation(["a", "b", "c", "d"])[: rng.integers(0, 3)].tolist()) for _ in at_most]
            for _ in range(movies)
        ]
        caps = make_caps(groups, at_most)
    pins: list[list[int]] = [[] for _ in range(USERS)]
    pinned = []
    if draw(st.booleans()):
        for users in (np.array([0, 2, 5]), np.array([1, 3, 4, 6])):
            order = rng.permutation(movies)[: rng.integers(0, 4)]
            if len(order):
                pinned.append(MoviesOfUsers(order, users))
            for user in users:
                pins[user] = order.tolist()
    plan = RulePlan(at_most=at_most)
    if draw(st.booleans()):
        plan = replace(plan, relevance=draw(st.sampled_from([0.25, 0.5, 1.0])), pool=draw(st.integers(1, 20)))
    if draw(st.booleans()):
        plan = replace(plan, share=draw(st.sampled_from([0.2, 0.5])))
        few = np.flatnonzero((sources > 0) & (rng.random(movies) < 0.4))
        scattered = Draw([MoviesOfUsers(few)], 11) if len(few) else None
    rules = Rules(plan, boosts, caps, tuple(pinned), scattered)
    whole = build_index(items, "inner_product")
    ranker = Ranker(whole, items, pools, queries, of_users, sources, popular, rules)
    return World(ranker, seen, k, groups, pins)


def by_reference(world: World, user: int) -> list[tuple[int, float, str]]:
    """The list of one user by the definition: movie, score and source of each row."""
    ranker, rules, k = world.ranker, world.ranker.rules, world.k
    assert rules is not None
    items, scores = ranker.index.vectors, ranker.index.vectors @ ranker.queries[user]
    if rules.boosts is not None:
        factor, addend = rules.boosts.factor, rules.boosts.addend
        scores = np.where(scores < 0, scores / factor, scores * factor) + addend
    count: dict[tuple[int, str], int] = {}

    def groups_of(movie: int) -> list[tuple[int, str]]:
        return [
            (rule, name) for rule, names in enumerate(world.groups[movie] if world.groups else []) for name in names
        ]

    def fits(movie: int) -> bool:
        return all(count.get(group, 0) < rules.plan.at_most[group[0]] for group in groups_of(movie))

    def add(movie: int) -> int:
        for group in groups_of(movie):
            count[group] = count.get(group, 0) + 1
        return movie

    by_vector = not ranker.popular or ranker.query_sources[user] > 0
    pins = [add(movie) for movie in world.pins[user] if movie not in world.seen[user]][:k]
    taken = world.seen[user] | set(pins)
    slots = [rank for rank in rules.plan.explored_ranks(k).tolist() if rank > len(pins)]
    explored: list[int] = []
    if rules.draw is not None and by_vector:
        few = rules.draw.lists[0].movies
        for movie in rules.draw._order(few, np.array([user]), range(10_000))[0].tolist():
            if len(explored) < len(slots) and movie >= 0 and movie not in taken and fits(movie):
                explored.append(add(movie))
    taken |= set(explored)
    offered = [
        movie
        for movie in range(len(items))
        if movie not in taken and (not ranker.popular or ranker.ranked_sources[movie])
    ]
    order = sorted(offered, key=lambda movie: (-scores[movie], movie)) if by_vector else []
    body: list[int] = []
    if rules.plan.relevance is not None:
        pool, order = order[: max(k, rules.plan.pool)], order[max(k, rules.plan.pool) :]
        body = diverse_by_reference(world, pool, scores, fits, add)
    for movie in order:
        if len(body) < k and fits(movie):
            body.append(add(movie))
    origins = {movie: SOURCES[min(ranker.query_sources[user], ranker.ranked_sources[movie])] for movie in body}
    values = {movie: float(scores[movie]) for movie in (*pins, *explored, *body)}
    for popular in ranker.popular:
        for movie, source, share in zip(popular.movies.tolist(), popular.sources, popular.scores, strict=True):
            if len(body) < k and movie not in taken and movie not in body and fits(movie):
                values[movie] = min(float(share), values[body[-1]] if body else np.inf)
                origins[movie] = ROW_SOURCES[source]
                body.append(add(movie))
    rows = [(movie, values[movie], "pinned") for movie in pins]
    for rank in range(len(pins) + 1, k + 1):
        if rank in slots and slots.index(rank) < len(explored):
            movie = explored[slots.index(rank)]
            rows.append((movie, values[movie], "explored"))
        elif body:
            movie = body.pop(0)
            rows.append((movie, values[movie], origins[movie]))
    return rows


def diverse_by_reference(world: World, pool: list[int], scores: np.ndarray, fits: Any, add: Any) -> list[int]:
    """Maximal marginal relevance, one movie after the other, in float32 as it is defined."""
    items, chosen = world.ranker.alike, []
    low, high = (float(end(scores[pool])) if pool else 0.0 for end in (np.min, np.max))
    share = np.float32(world.ranker.rules.plan.relevance)
    norm = {m: np.sqrt((items[m].astype(np.float64) ** 2).sum()) for m in pool}
    scale = {m: np.float32(1 / norm[m]) if norm[m] else np.float32(0) for m in pool}

    def value(movie: int) -> np.float32:
        relevance = share * np.float32((scores[movie] - low) / np.float32(high - low if high > low else 1))
        if not chosen:
            return relevance
        near = [np.float32(items[one] @ items[movie]) * scale[one] * scale[movie] for one in chosen]
        return relevance - np.float32(1 - world.ranker.rules.plan.relevance) * max(near)

    left = list(pool)
    while len(chosen) < world.k and (fitting := [movie for movie in left if fits(movie)]):
        best = max(fitting, key=lambda movie: (value(movie), -left.index(movie)))
        chosen.append(add(best))
        left.remove(best)
    return chosen


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_lists_are_those_of_the_reference(world: World) -> None:
    found, sources = world.lists()
    for user in range(USERS):
        n = found.counts[user]
        assert (found.ids[user, n:] == -1).all()
        of_rows = [ROW_SOURCES[source] for source in sources[user, :n]]
        rows = list(zip(found.ids[user, :n].tolist(), found.scores[user, :n].tolist(), of_rows, strict=True))
        assert rows == by_reference(world, user)


@settings(max_examples=30, deadline=None)
@given(worlds(), st.integers(1, USERS))
def test_lists_do_not_depend_on_the_block(world: World, size: int) -> None:
    whole, sources = world.lists()
    for start in range(0, USERS, size):
        rows = np.arange(start, min(USERS, start + size))
        part, of_part = world.lists(rows)
        assert np.array_equal(part.ids, whole.ids[rows])
        assert part.scores.tobytes() == whole.scores[rows].tobytes()
        assert np.array_equal(of_part[part.ids >= 0], sources[rows][part.ids >= 0])
