"""What the texts of a column are, where a few others stand among them."""

import pytest

from kgspark.inspection.values import genre_separator, time_unit

TIMES = [f"2026-01-{day:02d} 10:00:00" for day in range(1, 29)]


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (TIMES, "iso"),
        (TIMES * 3 + ["soon"], "iso"),
        (TIMES + ["soon"] * 10, None),
        ([str(1_600_000_000 + n) for n in range(50)], "seconds"),
        ([str(n) for n in range(50)], None),
    ],
)
def test_a_column_of_times_has_nearly_nothing_else(texts: list[str], unit: str | None) -> None:
    assert time_unit(texts) == unit


def test_a_separator_makes_parts_that_come_back() -> None:
    assert genre_separator(["Drama|War", "War", "Comedy|Drama"] * 5) == "|"
    assert genre_separator([f"Writer {n}, Born in {n}" for n in range(20)]) is None
