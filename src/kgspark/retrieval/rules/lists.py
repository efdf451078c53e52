"""Lists that obey the business rules: exact, and the same for any cut of the users into blocks.

1. Pinned movies that the user has not seen come first.
2. Movies with few ratings are drawn for their share of the ranks.
3. The other movies come by final score (the boosted score of the model), each if its groups have room, or by maximal
   marginal relevance from the pool of the best. The search goes deeper until the list is proven.
4. Popular movies fill what vectors leave open.

All of them count for caps; pinned movies are placed even without room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.popular import PopularList
from kgspark.retrieval.rules.diversity import diverse
from kgspark.retrieval.rules.placed import pinned, to_the_left
from kgspark.retrieval.rules.rules import Rules
from kgspark.retrieval.topk import Ranking
from kgspark.tables import EXPLORED, PINNED, ROW_SOURCES

# Cells of the (users, movies) buffers of a search.
_CELLS = 4_000_000
# How many times more movies the next search is for, where a list is not proven yet.
_DEEPER = 4
_PINNED, _EXPLORED = (ROW_SOURCES.index(name) for name in (PINNED, EXPLORED))


@dataclass(frozen=True)
class Block:
    """Some users, and the model.

    positions  int64 (B,): of the users
    seen       positions of the movies that each has seen
    has_vector bool (B,): vectors rank for the user; only popular and pinned movies are for the others
    alike      float32 (M, d): vectors that tell what is like what
    search     (rows of the block, their histories, n) -> the n best movies by the model's score that are in no history
    scores     (rows, movies int64 (r, n)) -> the model's scores float32; -inf for -1
    sources    (rows, movies) -> the weaker source of both vectors, uint8
    """

    positions: np.ndarray
    seen: Histories
    has_vector: np.ndarray
    alike: np.ndarray
    search: Callable[[np.ndarray, Histories, int], Ranking]
    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    sources: Callable[[np.ndarray, np.ndarray], np.ndarray]


def lists_by_rules(rules: Rules, block: Block, popular: Sequence[PopularList], k: int) -> tuple[Ranking, np.ndarray]:
    """The lists of length k, and the source of each of their places, uint8 (B, k): positions in `ROW_SOURCES`."""
    users = len(block.positions)
    step = users if rules.caps is None else rules.caps.lists_at_once
    ranking, sources = Ranking.empty(users, k), np.zeros((users, k), np.uint8)
    for start in range(0, users, max(step, 1)):
        rows = np.arange(start, min(start + step, users))
        part, sources[rows] = _lists(rules, block, popular, k, rows)
        ranking.ids[rows], ranking.scores[rows], ranking.counts[rows] = part.ids, part.scores, part.counts
    return ranking, sources


def _lists(
    rules: Rules, block: Block, popular: Sequence[PopularList], k: int, rows: np.ndarray
) -> tuple[Ranking, np.ndarray]:
    positions, seen, caps = block.positions[rows], block.seen.pick(rows), rules.caps
    counts = None if caps is None else caps.no_counts(len(rows))
    pins = pinned(rules.pins, positions, seen, k)
    if caps is not None and counts is not None:
        caps.add(counts, pins)
    taken = seen | _histories(pins)
    ranks = rules.plan.explored_ranks(k)
    drawn = np.full((len(rows), 0), -1, np.int64)
    if rules.draw is not None:
        free = (ranks > (pins >= 0).sum(axis=1)[:, None]).sum(axis=1)
        drawn = rules.draw.take(positions, taken, np.where(block.has_vector[rows], free, 0), caps, counts)
        taken = taken | _histories(drawn)
    best = best_by_rules(rules, block, rows, taken, k, counts)
    sources = block.sources(rows, best.ids)
    for each in popular:
        each.fill(best, sources, taken, each.rows(positions), caps, counts)
    placed = [_scored(rules, block, rows, ids) for ids in (pins, drawn)]
    return _assembled(placed[0], placed[1], ranks, best, sources)


def _histories(ids: np.ndarray) -> Histories:
    inside = ids >= 0
    return Histories.from_sizes(inside.sum(axis=1), ids[inside])


def _scored(rules: Rules, block: Block, rows: np.ndarray, ids: np.ndarray) -> Ranking:
    """Placed movies with their final scores."""
    scores = block.scores(rows, ids)
    if rules.boosts is not None:
        scores = rules.boosts.of_movies(scores, ids)
    return Ranking(ids, scores, (ids >= 0).sum(axis=1))


def best_by_rules(
    rules: Rules, block: Block, rows: np.ndarray, taken: Histories, k: int, counts: np.ndarray | None
) -> Ranking:
    """The k best movies of each of `rows` that are not `taken`, by final score, by caps and by marginal relevance.

    counts  of the caps, one row per row; changed in place
    """
    best, catalogue = Ranking.empty(len(rows), k), len(block.alike)
    pending, depth = np.arange(len(rows)), min(rules.first_depth(k), catalogue)
    while len(pending):
        left = [np.empty(0, np.int64)]
        for part in np.array_split(pending, -(-len(pending) * depth // _CELLS)):
            found = block.search(rows[part], taken.pick(part), depth)
            is_whole = (found.counts < depth) | (depth == catalogue)
            ordered, proven = rules.order(found, is_whole)
            ready = np.flatnonzero((proven >= rules.pool(k)) | is_whole)
            if not len(ready):
                left.append(part)
                continue
            of_ready = None if counts is None else counts[part[ready]]
            chosen, is_full = _choose(rules, block, _first(ordered, proven, ready), k, of_ready)
            is_done = is_full | is_whole[ready]
            done = part[ready[is_done]]
            best.ids[done], best.scores[done] = chosen.ids[is_done], chosen.scores[is_done]
            best.counts[done] = chosen.counts[is_done]
            if counts is not None and of_ready is not None:
                counts[done] = of_ready[is_done]
            left.append(np.setdiff1d(part, done))
        pending, depth = np.concatenate(left), min(_DEEPER * depth, catalogue)
    return best


def _first(ordered: Ranking, proven: np.ndarray, rows: np.ndarray) -> Ranking:
    """The first `proven` int64 (B,) movies of the lists `rows`, padded."""
    number = proven[rows]
    known = np.where(np.arange(ordered.ids.shape[1]) < number[:, None], ordered.ids[rows], -1)
    return Ranking(known, ordered.scores[rows], number)


def _choose(
    rules: Rules, block: Block, known: Ranking, k: int, counts: np.ndarray | None
) -> tuple[Ranking, np.ndarray]:
    """The lists from the first movies of each order, and a mask bool (B,): no further movie could change the list."""
    if rules.plan.relevance is None:
        places = _in_order(rules, known.ids, np.full(len(known.ids), k), counts)
    else:
        size = rules.pool(k)
        pool = Ranking(known.ids[:, :size], known.scores[:, :size], known.counts)
        picks = diverse(pool, block.alike, rules.plan.relevance, k, rules.caps, counts)
        rest = _in_order(rules, known.ids[:, size:], k - (picks >= 0).sum(axis=1), counts)
        # By caps, the pool may not fill the list; then the next movies by score do.
        places = _to_width(np.hstack([picks, np.where(rest < 0, -1, rest + size)]), k)
    ids = np.where(places < 0, -1, np.take_along_axis(known.ids, np.maximum(places, 0), axis=1))
    scores = np.take_along_axis(known.scores, np.maximum(places, 0), axis=1)
    scores = np.where(places < 0, np.float32(-np.inf), scores)
    number = (places >= 0).sum(axis=1)
    is_full = number == k
    if rules.caps is not None and counts is not None:
        is_full |= ~rules.caps.is_open(counts)
    return Ranking(ids, scores, number), is_full


def _in_order(rules: Rules, ids: np.ndarray, need: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """The places in `ids` of the first movies of each order that have room, at most `need`: int64 (B, n), padded."""
    if rules.caps is None or counts is None:
        kept = (ids >= 0) & (np.arange(ids.shape[1]) < need[:, None])
    else:
        kept = rules.caps.take(counts, ids, need)
    places = np.where(kept, np.arange(ids.shape[1]), -1)
    return _to_width(places, int(need.max(initial=0)))


def _to_width(places: np.ndarray, width: int) -> np.ndarray:
    """The entries of each row that are not -1, in their order, in `width` columns that hold all of them, padded."""
    left = to_the_left(places)[:, :width]
    return np.pad(left, ((0, 0), (0, width - left.shape[1])), constant_values=-1)


def _assembled(
    pins: Ranking, drawn: Ranking, ranks: np.ndarray, best: Ranking, sources: np.ndarray
) -> tuple[Ranking, np.ndarray]:
    """Pinned movies, then the others by rank, with drawn ones at the `ranks` int64 (from 1) that are not pinned.

    Where other movies are missing, later ones move up.
    """
    users, k = best.ids.shape
    ids, scores = np.full((users, k), -1, np.int64), np.full((users, k), -np.inf, np.float32)
    of_place = np.zeros((users, k), np.uint8)
    ids[:, : pins.ids.shape[1]], scores[:, : pins.ids.shape[1]] = pins.ids, pins.scores
    of_place[ids >= 0] = _PINNED
    behind = np.arange(k) >= pins.counts[:, None]
    is_rank = np.isin(np.arange(1, k + 1), ranks) & behind
    nth = np.cumsum(is_rank, axis=1) - 1
    is_drawn = is_rank & (nth < drawn.counts[:, None])
    row, column = np.nonzero(is_drawn)
    ids[row, column], scores[row, column] = (each[row, nth[row, column]] for each in (drawn.ids, drawn.scores))
    of_place[row, column] = _EXPLORED
    is_best = behind & ~is_drawn
    nth = np.cumsum(is_best, axis=1) - 1
    row, column = np.nonzero(is_best & (nth < best.counts[:, None]))
    ids[row, column], scores[row, column] = (each[row, nth[row, column]] for each in (best.ids, best.scores))
    of_place[row, column] = sources[row, nth[row, column]]
    order = np.argsort(ids < 0, axis=1, kind="stable")
    listed, final = (np.take_along_axis(each, order, axis=1) for each in (ids, scores))
    return Ranking(listed, final, (ids >= 0).sum(axis=1)), np.take_along_axis(of_place, order, axis=1)
