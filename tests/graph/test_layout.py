import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgspark.graph.layout import EntityLayout

_counts = st.lists(st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 10**12)), unique_by=lambda pair: pair[0])


@given(_counts)
def test_ranges_follow_each_other_and_survive_json(counts: list[tuple[str, int]]) -> None:
    layout = EntityLayout.from_counts(counts)
    position = 0
    for kind, count in counts:
        assert layout.range(kind) == (position, position + count)
        assert layout.count(kind) == count
        position += count
    assert layout.size == position
    read_back = EntityLayout.from_json(json.loads(json.dumps(layout.to_json())))
    assert read_back == layout
    assert list(read_back.ranges) == [kind for kind, _ in counts]


def test_a_kind_without_entities_has_an_empty_range_between_its_neighbours() -> None:
    layout = EntityLayout.from_counts([("user", 2), ("movie", 0), ("genre", 3)])
    assert layout.to_json() == {"user": [0, 2], "movie": [2, 2], "genre": [2, 5]}


@pytest.mark.parametrize(
    ("ranges", "kind"),
    [
        ({"user": (1, 3)}, "user"),
        ({"user": (0, 3), "movie": (4, 5)}, "movie"),
        ({"user": (0, 3), "movie": (2, 5)}, "movie"),
        ({"user": (0, 3), "movie": (3, 2)}, "movie"),
    ],
    ids=["not from 0", "a gap", "an overlap", "backwards"],
)
def test_ranges_that_are_not_contiguous_are_refused(ranges: dict[str, tuple[int, int]], kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind '{kind}' has the range"):
        EntityLayout(ranges)


def test_the_same_kind_twice_or_less_than_none_of_it_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 'user'"):
        EntityLayout.from_counts([("user", 2), ("user", 3)])
    with pytest.raises(ValueError, match="kind 'movie'"):
        EntityLayout.from_counts([("user", 2), ("movie", -1)])


def test_a_kind_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="actor"):
        EntityLayout.from_counts([("user", 2)]).range("actor")
