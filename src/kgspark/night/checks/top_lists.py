"""The audit's comparison of published lists with the model's own top K, for the users of a sample.

A list whose scores are all the model's own may still lack a better movie. This check computes the scores of all movies
for some of the sample's users, by the path of `night.model_scores`. Each movie that is better than the last one of a
list must be in the list, or seen, or not offered to the user.
"""

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.night.checks.model_scores import Sample
from kgspark.night.checks.rules_audit import MovieRules
from kgspark.night.night import Night
from kgspark.night.reads import list_length, read_candidates, seen_pairs
from kgspark.spark.ranking.audit.checks import check_named
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.sample import collect_allowed
from kgspark.tables import RECOMMENDATIONS, Columns

CHECK = "top_k"
# Pairs of user and movie that are scored, unless the movies of one user alone are more.
_MOST_PAIRS = 50_000
# Pairs that are scored at once, which bounds the memory.
_BLOCK_PAIRS = 1 << 18
_LAST = "last"
# Below every score.
_ANY = -1e300


def check_top_k(night: Night, sample: Sample, table: str) -> Finding:
    """The finding of a table of movies. Not measured if the search was approximate: its recall was measured instead."""
    check, given, names = check_named(CHECK), night.settings.audit.checks[CHECK], night.settings.names
    last = _last_scores(sample, table, list_length(night, table))
    chosen = _some(np.flatnonzero(np.isfinite(last)), _MOST_PAIRS // max(len(sample.placed), 1))
    if night.run.manifest(table).details["search"] != ["flat"] or not len(chosen):
        return judge(check, given, table, None, names=names)
    better = _better_movies(sample, table, chosen, last)
    lacking = collect_allowed(better, seen_pairs(night), read_candidates(night))
    if sample.rules is not None and table == RECOMMENDATIONS:
        lacking = lacking.filter(pa.array(_break_rules(sample, sample.rules, lacking, night.settings.recommend.k)))
    example = f"{len(chosen):,} lists compared with {len(sample.placed):,} {names.movies}"
    if len(lacking):
        row = min(lacking.to_pylist(), key=itemgetter(Columns.USER_ID, Columns.MOVIE_ID))
        ids = f"{names.user_id} {row[Columns.USER_ID]} lacks {names.movie_id} {row[Columns.MOVIE_ID]}"
        example = f"{ids} with {row[Columns.SCORE]:.6g}, and the last one listed has {row[_LAST]:.6g}; {example}"
    return judge(check, given, table, float(len(lacking)), example, names)


def _last_scores(sample: Sample, table: str, k: int) -> np.ndarray:
    """The lowest final score in each user's list, float64 (u,); infinite for a user without a list.

    Rows that rules have placed do not count.
    """
    last, listed = np.full(len(sample.users), np.inf), sample.of_table(table) & ~sample.by_rule
    np.minimum.at(last, sample.owners[listed], sample.own[listed])
    if sample.rules is not None and sample.rules.caps is not None and table == RECOMMENDATIONS:
        # A list that vectors do not fill lacks every movie that could stand in it.
        rows = np.bincount(sample.owners[sample.of_table(table)], minlength=len(last))
        last[np.isfinite(last) & (rows < k)] = _ANY
    return last


def _break_rules(sample: Sample, rules: MovieRules, lacking: pa.Table, k: int) -> np.ndarray:
    """Mask bool (n,) of the lacking movies that no rule has kept out of the list.

    Caps keep out a movie if a group of it has no room left by the rows before it. Maximal marginal relevance may keep
    out movies of its pool: as many as the pool has more than the list.
    """
    owners = np.asarray(pc.index_in(lacking[Columns.USER_ID], value_set=sample.user_ids))
    movies = np.asarray(pc.index_in(lacking[Columns.MOVIE_ID], value_set=sample.movie_ids))
    scores, broken = lacking[Columns.SCORE].to_numpy(), np.ones(len(lacking), bool)
    in_order, tolerances = rules.plan.relevance is None, sample.tolerances(RECOMMENDATIONS)
    for owner in np.unique(owners):
        mine, rows = owners == owner, sample.of_table(RECOMMENDATIONS) & (sample.owners == owner)
        if rules.caps is not None:
            before = np.where(sample.by_rule[rows] | (not in_order), np.inf, sample.own[rows])
            floors = rules.floors(sample.movies[rows], before) + tolerances[owner]
            broken[mine] = ~rules.without_room(movies[mine], scores[mine], floors)
        if not in_order:
            spare = max(k, rules.plan.pool) - int((~sample.by_rule[rows]).sum())
            left = np.flatnonzero(mine & broken)
            broken[left[: max(spare, 0)]] = False
    return broken


def _some(positions: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the positions, at least one if there is any, evenly spaced."""
    count = min(max(most, 1), len(positions))
    return positions[np.arange(count) * len(positions) // max(count, 1)]


def _better_movies(sample: Sample, table: str, chosen: np.ndarray, last: np.ndarray) -> pa.Table:
    """The movies that a list lacks, though the model gives them more than its last one: ids, score and `last`.

    chosen  positions in `sample.users`
    """
    floor = last + sample.tolerances(table)
    listed = sample.of_table(table)
    known = sample.owners[listed] * len(sample.movie_ids) + sample.movies[listed]
    parts = []
    for owners, movies in _blocks(chosen, sample.placed):
        scores = sample.final(sample.model.scores(sample.users, owners, movies, sample.likes), movies)
        better = (scores > floor[owners]) & ~np.isin(owners * len(sample.movie_ids) + movies, known)
        parts.append((owners[better], movies[better], scores[better]))
    owners, movies, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pa.table(
        {
            Columns.USER_ID: sample.user_ids.take(pa.array(owners)),
            Columns.MOVIE_ID: sample.movie_ids.take(pa.array(movies)),
            Columns.SCORE: scores,
            _LAST: last[owners],
        }
    )


def _blocks(users: np.ndarray, movies: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of a user and a movie: some movies of all users at a time."""
    step = max(1, _BLOCK_PAIRS // len(users))
    for start in range(0, len(movies), step):
        block = movies[start : start + step]
        yield np.repeat(users, len(block)), np.tile(block, len(users))
