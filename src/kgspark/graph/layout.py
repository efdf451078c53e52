"""The half-open range of entity indices of each kind: users, movies, genres, then any further kind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

USER, MOVIE, GENRE = "user", "movie", "genre"


@dataclass(frozen=True)
class EntityLayout:
    """Contiguous, disjoint ranges that together cover `[0, size)`; `ranges[kind] = (start, stop)`."""

    ranges: Mapping[str, tuple[int, int]]

    def __post_init__(self) -> None:
        expected = 0
        for kind, (start, stop) in self.ranges.items():
            if start != expected or stop < start:
                raise ValueError(f"kind {kind!r} has the range [{start}, {stop}); expected it to start at {expected}")
            expected = stop

    @classmethod
    def from_counts(cls, counts: Iterable[tuple[str, int]]) -> "EntityLayout":
        """Consecutive ranges, from `(kind, count)` pairs in order."""
        ranges: dict[str, tuple[int, int]] = {}
        start = 0
        for kind, count in counts:
            ranges[kind] = (start, start + count)
            start += count
        return cls(ranges)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EntityLayout":
        """The inverse of `to_json`."""
        return cls({kind: (int(start), int(stop)) for kind, (start, stop) in value.items()})

    def to_json(self) -> dict[str, list[int]]:
        """`{kind: [start, stop]}` in index order."""
        return {kind: [start, stop] for kind, (start, stop) in self.ranges.items()}

    @property
    def size(self) -> int:
        """Number of entities of all kinds."""
        return max((stop for _, stop in self.ranges.values()), default=0)

    def range(self, kind: str) -> tuple[int, int]:
        """The half-open index range of `kind`; KeyError for an unknown kind."""
        return self.ranges[kind]

    def count(self, kind: str) -> int:
        """Number of entities of `kind`."""
        start, stop = self.ranges[kind]
        return stop - start
