"""A bad file does not hide behind good ones: it stops the night if it is new, or its name and look are told."""

from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.accounts import LEAST_BAD
from kgspark.spark.cleaning.source.file_accounts import SourceFile
from kgspark.spark.cleaning.worst_file import WorstFile, find_worst_file
from kgspark.stages import clean_ratings
from nights import a_night

SECONDS, MILLISECONDS = "1600001020", "1600001020000"
HINT = "times look like milliseconds: set source.timestamp_unit=milliseconds"


def _write(file: Path, good: int, bad: int) -> None:
    times = [SECONDS] * good + [MILLISECONDS] * bad
    rows = "".join(f"{user},1,4.0,{time}\n" for user, time in enumerate(times))
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"user_id,movie_id,rating,timestamp\n{rows}")


def _clean(spark: Any, folder: Path, day: int, **clean: Any) -> str:
    """The stage's line of the night of a day."""
    source = {"path": str(folder / "in"), "format": "table", "timestamp_unit": "seconds"}
    return clean_ratings.run(
        a_night(folder / "lake", spark, source=source, clean=clean, run_date=f"2026-01-{day:02}")
    ).summary


@pytest.mark.extended
def test_new_files_must_stay_under_the_limit_themselves(spark: Any, tmp_path: Path) -> None:
    loose = {"max_quarantined_share": 0.2}
    _write(tmp_path / "in" / "a.csv", good=1_400, bad=0)
    _write(tmp_path / "in" / "b.csv", good=0, bad=150)
    # Without an earlier night, all files are compared with the limit together, and the worst is told.
    line = _clean(spark, tmp_path, 1, **loose)
    assert line.endswith(f"; the worst file is b.csv with 150 bad of 150 lines; {HINT}")

    _write(tmp_path / "in" / "c.csv", good=0, bad=LEAST_BAD)
    _write(tmp_path / "in" / "d.csv", good=5, bad=0)
    with pytest.raises(InputError) as caught:
        _clean(spark, tmp_path, 2, **loose)
    assert str(caught.value).startswith(
        f"{tmp_path}/in: 95.24% of the new lines are bad, and clean.max_quarantined_share allows 20.00%: "
        f"100 timestamp_not_a_time; the worst file is c.csv with 100 bad of 100 lines; {HINT}; they are listed in"
    )
    # New files with fewer bad lines pass, and the worst of them is told: that of the earlier night was told then.
    _write(tmp_path / "in" / "c.csv", good=1, bad=LEAST_BAD - 1)
    line = _clean(spark, tmp_path, 2, **loose)
    assert f"; the worst file is c.csv with 99 bad of 100 lines; {HINT}; 2 of 4 files are new" in line


def test_the_error_has_the_file_with_most_bad_lines_and_its_hint(spark: Any, tmp_path: Path) -> None:
    """The bad times are 5 % of all lines: too few to say something about all of them."""
    _write(tmp_path / "in" / "a.csv", good=190, bad=1)
    _write(tmp_path / "in" / "b +ü.csv", good=0, bad=9)
    with pytest.raises(InputError) as caught:
        _clean(spark, tmp_path, 1)
    assert (
        ": 5.00% of the lines are bad, and clean.max_quarantined_share allows 1.00%: 10 timestamp_not_a_time; "
        f"the worst file is b +ü.csv with 9 bad of 9 lines; {HINT}; they are listed in"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "worst"),
    [
        (0.01, WorstFile("day.csv", 150, {"bad_user_id": 1, "timestamp_not_a_time": 149})),  # 148.5 above
        (0.0001, WorstFile("history.csv", 20_000, {"rating_off_step": 199})),  # 197 above
        (1.0, WorstFile("1.csv", 1, {"bad_user_id": 1})),  # all of two files are bad: the first by name
    ],
)
def test_the_worst_file_has_the_most_bad_lines_above_the_limit(spark: Any, limit: float, worst: WorstFile) -> None:
    rows = [
        *[("ratings", "history.csv", "rating_off_step")] * 199,
        *[("ratings", "day.csv", "timestamp_not_a_time")] * 149,
        ("ratings", "day.csv", "bad_user_id"),
        ("ratings", "1.csv", "bad_user_id"),
        *[("ratings", "of an earlier night.csv", "bad_user_id")] * 500,
        *[("movies", "day.csv", "bad_movie_id")] * 500,
    ]
    quarantine = spark.createDataFrame(rows, "table string, file string, reason string")
    names = {"history.csv": 20_001, "day.csv": 151, "1.csv": 2, "good.csv": 9}
    files = [SourceFile(name, 0, "", lines, headers=1) for name, lines in names.items()]
    assert find_worst_file(quarantine, files, limit) == worst
    assert find_worst_file(quarantine, files[3:], limit) is None
