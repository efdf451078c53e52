"""The derived table co_watched in memory, as `spark.graph.co_watch` makes it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.spark.graph.settings import TriplesSettings
from kgspark.tables import Columns


def co_watched(likes: pa.Table, settings: TriplesSettings) -> pa.Table:
    """movie_id, other_movie_id, users: the movies that users liked at most `co_watch.window` places apart.

    likes  user_id, movie_id, timestamp of training likes, sorted by user and then by movie
    """
    watch = settings.co_watch
    users = likes[Columns.USER_ID].combine_chunks().dictionary_encode().indices.to_numpy()
    names, movies = _positions(likes[Columns.MOVIE_ID].combine_chunks())
    order = np.lexsort((movies, likes[Columns.TIMESTAMP].to_numpy(), users))
    one, other, counts = _pairs(users[order], movies[order], watch.window)
    enough = counts >= watch.min_users
    heads = np.append(one[enough], other[enough])
    tails = np.append(other[enough], one[enough])
    shared = np.append(counts[enough], counts[enough])
    order = np.lexsort((tails, -shared, heads))
    heads, tails, shared = heads[order], tails[order], shared[order]
    kept = np.arange(len(heads)) - np.searchsorted(heads, heads) < watch.top
    return pa.table(
        {
            Columns.MOVIE_ID: names.take(pa.array(heads[kept])),
            Columns.OTHER_MOVIE_ID: names.take(pa.array(tails[kept])),
            Columns.USERS: shared[kept],
        }
    )


def _positions(ids: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The ids, sorted and each once, and the position among them of each row, int64 (n,)."""
    names = pc.unique(ids)
    names = names.take(pc.sort_indices(names))
    return names, pc.index_in(ids, value_set=names).to_numpy(zero_copy_only=False).astype(np.int64)


def _pairs(users: np.ndarray, movies: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of movies at most `window` rows apart of one user, the lower position first, and their numbers."""
    parts = [np.empty((2, 0), np.int64)]
    for distance in range(1, min(window, len(users) - 1) + 1):
        same = users[distance:] == users[:-distance]
        parts.append(np.stack([movies[:-distance][same], movies[distance:][same]]))
    ends = np.sort(np.concatenate(parts, axis=1), axis=0)
    base = int(movies.max(initial=0)) + 1
    keys, counts = np.unique(ends[0] * base + ends[1], return_counts=True)
    return keys // base, keys % base, counts
