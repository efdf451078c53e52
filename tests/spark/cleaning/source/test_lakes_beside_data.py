"""A lake beside the data, where the default of `lake` is, is no data."""

from pathlib import Path

import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import find_files


def test_a_lake_in_the_folder_of_the_data_is_skipped_and_told(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01").mkdir()
    (tmp_path / "2026-01-01" / "ratings.csv").write_text("user,movie\n1,2\n")
    table = tmp_path / "lake" / "runs" / "2026-01-02" / "ratings"
    table.mkdir(parents=True)
    (table / "part-0.csv").write_text("user,movie\n3,4\n")
    found = find_files(str(tmp_path), "")
    assert [found.name(file) for file in found.files] == ["2026-01-01/ratings.csv"]
    assert found.skipped == {"lake": "a lake of kgspark"}


def test_a_folder_named_runs_without_nights_is_data(tmp_path: Path) -> None:
    (tmp_path / "a" / "runs" / "first").mkdir(parents=True)
    (tmp_path / "a" / "runs" / "first" / "ratings.csv").write_text("user,movie\n1,2\n")
    assert len(find_files(str(tmp_path), "").files) == 1


def test_a_folder_with_nothing_but_a_lake_has_no_data(tmp_path: Path) -> None:
    (tmp_path / "lake" / "runs" / "2026-01-02").mkdir(parents=True)
    with pytest.raises(InputError, match=r"skipped 1 file \(1 a lake of kgspark\)"):
        find_files(str(tmp_path), "")
