"""The split of the ratings, as `spark.graph.splits` has it: the same rows in the same splits."""

import math

import numpy as np
import pyarrow as pa

from kgspark.graph.triples import SPLITS
from kgspark.in_memory.hashing import uniform
from kgspark.spark.graph.settings import SplitSettings
from kgspark.tables import TEST, TRAIN, VALID, Columns

_SECONDS_PER_DAY = 86_400
_TRAIN, _VALID, _TEST = (SPLITS.index(name) for name in (TRAIN, VALID, TEST))


def split_ratings(ratings: pa.Table, settings: SplitSettings, is_like: np.ndarray) -> np.ndarray:
    """Positions in `SPLITS`, int8 (n,), of the ratings; see `spark.graph.splits.with_split` for the protocols.

    ratings  one row per pair, sorted by user and then by movie
    is_like  bool (n,)
    """
    users, movies = (ratings[key].combine_chunks() for key in (Columns.USER_ID, Columns.MOVIE_ID))
    protocol, seed = settings.protocol, settings.seed
    if protocol == "none":
        return np.full(len(ratings), _TRAIN, np.int8)
    if protocol in ("leave-one-out", "per-user"):
        of_user = users.dictionary_encode().indices.to_numpy()
        return _by_user(ratings, of_user, is_like, settings, uniform(seed, (users, movies)))
    if protocol == "time":
        return _by_time(ratings[Columns.TIMESTAMP].to_numpy(), is_like, settings)
    of_pair = uniform(seed, (users, movies))
    if protocol == "random":
        valid_until = settings.test + (1 - settings.test) * settings.valid
        return _coded(of_pair < settings.test, of_pair < valid_until)
    validates = is_like & (of_pair < settings.valid)
    if protocol == "cold-movies":
        return _coded(uniform(seed, (movies,)) < settings.test, validates)
    cold = uniform(seed, (users,)) < settings.test
    return _coded(cold & is_like, validates & ~cold)


def age_days(timestamps: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Days float64 (n,) between each rating and the latest training rating, 0 for later ones."""
    latest = timestamps[split == _TRAIN].max(initial=0)
    return np.maximum((latest - timestamps) / float(_SECONDS_PER_DAY), 0.0)


def _coded(test: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(test, _TEST, np.where(valid, _VALID, _TRAIN)).astype(np.int8)


def _by_user(
    ratings: pa.Table, of_user: np.ndarray, is_like: np.ndarray, settings: SplitSettings, drawn: np.ndarray
) -> np.ndarray:
    rows = np.flatnonzero(is_like)
    if settings.protocol == "leave-one-out":
        times = ratings[Columns.TIMESTAMP].to_numpy()[rows]
        order = rows[np.lexsort((-rows, -times, of_user[rows]))]  # ratings are sorted by movie inside a user
    else:
        order = rows[np.lexsort((rows, drawn[rows], of_user[rows]))]
    likes = np.bincount(of_user[rows], minlength=int(of_user.max(initial=-1)) + 1)
    starts = np.cumsum(likes) - likes
    place = np.arange(len(order)) - starts[of_user[order]] + 1
    count = likes[of_user[order]]
    part = (count >= 3).astype(np.int64) if settings.protocol == "leave-one-out" else count // 10
    split = np.full(len(ratings), _TRAIN, np.int8)
    split[order] = _coded(place <= part, place <= 2 * part)
    return split


def _by_time(times: np.ndarray, is_like: np.ndarray, settings: SplitSettings) -> np.ndarray:
    test_from = _boundary(times[is_like], settings.test)
    valid_from = _boundary(times[is_like & (times < test_from)], settings.valid)
    return _coded(times >= test_from, times >= valid_from)


def _boundary(times: np.ndarray, fraction: float) -> int:
    """The latest second such that at least this fraction of the times are not before it."""
    needed = math.ceil(round(fraction * len(times), 6))
    if not needed:
        return (int(times.max(initial=0)) // _SECONDS_PER_DAY + 1) * _SECONDS_PER_DAY
    return int(np.sort(np.floor(times))[-needed])
