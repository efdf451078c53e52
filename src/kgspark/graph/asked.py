"""The time that the lists of a night are for, as its queries ask for it."""

from dataclasses import asdict, dataclass

import numpy as np

from kgspark.graph.histories import Histories

SECONDS_PER_DAY = 86_400
# A break between two likes is usual if at least so many are as long.
_USUAL = 100


@dataclass(frozen=True)
class Asked:
    """Seconds since 1970, and the longest usual break between two likes: longer ones say no more than that.

    Of a user who has been away for years, training knows too little to say what the years mean.
    """

    time: int
    longest_break: int

    @classmethod
    def after(cls, likes: Histories) -> "Asked | None":
        """Noon of the day after the latest of the `likes`; None if they have no times."""
        if likes.times is None or not len(likes.times):
            return None
        return cls(int(noon_of(likes.times.max(keepdims=True))[0]) + SECONDS_PER_DAY, longest_break(likes))

    def of(self, likes: Histories) -> np.ndarray:
        """The times int64 (U,) to ask for, for users with these likes; 0 for one without likes."""
        return within_break(np.full(len(likes), self.time, np.int64), likes, self.longest_break)

    def to_json(self) -> dict[str, int]:
        """The fields by name."""
        return asdict(self)


def noon_of(times: np.ndarray) -> np.ndarray:
    """Noon int64 (n,), in UTC, of the days of the given seconds since 1970."""
    return (np.floor_divide(times, SECONDS_PER_DAY) * SECONDS_PER_DAY + SECONDS_PER_DAY // 2).astype(np.int64)


def longest_break(likes: Histories) -> int:
    """The longest break, in seconds, between two likes of a user, but for the hundred longest ones."""
    ordered = likes.in_order()
    owners = ordered.rows()
    assert ordered.times is not None
    breaks = np.diff(ordered.times)[owners[1:] == owners[:-1]]
    return int(np.sort(breaks)[-_USUAL:][0]) if len(breaks) else 0


def latest_times(likes: Histories) -> np.ndarray:
    """The time of each user's latest like, of the likes' own type (U,); 0 without likes."""
    assert likes.times is not None
    latest = np.zeros(len(likes), likes.times.dtype)
    having = np.flatnonzero(likes.sizes)
    if len(having):
        latest[having] = np.maximum.reduceat(likes.times, likes.indptr[having])
    return latest


def within_break(asked: np.ndarray, likes: Histories, longest: int) -> np.ndarray:
    """The times `asked` int64 (U,), but none later than the `longest` break after the user's latest like."""
    return np.minimum(asked, latest_times(likes).astype(np.int64) + longest) * (likes.sizes > 0)
