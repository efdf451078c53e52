"""The users whose lists are on the page: the first ones, and a sample that is the same tomorrow."""

import numpy as np
import pyarrow as pa

# Ids that are hashed at once.
_CHUNK = 1 << 16
# The first users of the night are on the page too, because people try small numbers first.
FIRST = 20


def chosen_users(ids: pa.Array, most: int) -> np.ndarray:
    """Positions int64, ascending, of the first `FIRST` users and of the `most` ones whose ids have the lowest hashes.

    A user's hash depends on the id alone, so the sample of another night has the same users, as long as they are there.
    """
    lowest = np.empty(0, np.uint64)
    places = np.empty(0, np.int64)
    for start in range(0, len(ids), _CHUNK):
        part = ids.slice(start, _CHUNK)
        lowest = np.concatenate([lowest, _hashes(part)])
        places = np.concatenate([places, np.arange(start, start + len(part))])
        if len(lowest) > most:
            kept = np.argsort(lowest, kind="stable")[:most]
            lowest, places = lowest[kept], places[kept]
    return np.union1d(places, np.arange(min(FIRST, len(ids))))


def _hashes(ids: pa.Array) -> np.ndarray:
    """uint64 (n,): a hash of each id."""
    from pandas.util import hash_array

    values = ids.to_numpy(zero_copy_only=False)
    return hash_array(values, categorize=False) if values.dtype == object else hash_array(values)
