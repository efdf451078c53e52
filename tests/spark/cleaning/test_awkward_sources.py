"""Sources in awkward files: every rating is read and accounted for by file, or one line says what to do."""

import bz2
import gzip
import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.files import source_signature
from kgspark.night.night import Night
from kgspark.stages import clean_ratings
from nights import DATE, a_night

HEADER = "user_id,movie_id,rating,timestamp"
START = 1_600_001_020
# 24 ratings of 4 users and 6 movies: 2.5, 4.0 and 5.0 in turn.
WORLD = {
    (user, movie): ((2.5, 4.0, 5.0)[movie % 3], START + 10 * user + movie) for user in range(1, 5) for movie in range(6)
}
LINES = [f"{user},{movie},{rating},{at}" for (user, movie), (rating, at) in WORLD.items()]
HALVES = (LINES[:12], LINES[12:])


def _csv(path: Path, lines: list[str], header: str | None = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + lines))
    return path


def _clean(spark: Any, lake: Path, path: Path | str, date: str = DATE, **sections: Any) -> tuple[Night, str]:
    """The night after clean-ratings, and the stage's line."""
    source = {"path": str(path), "format": "table"} | sections.pop("source", {})
    night = a_night(lake, spark, source=source, run_date=date, **sections)
    return night, clean_ratings.run(night).summary


def _kept(night: Night) -> dict[tuple[int, int], tuple[float, int]]:
    rows = pq.read_table(night.run.table("ratings")).to_pylist()
    return {(row["user_id"], row["movie_id"]): (row["rating"], row["timestamp"]) for row in rows}


def _refused(night: Night) -> list[tuple[str, int, str]]:
    rows = pq.read_table(night.run.table("quarantine")).to_pylist()
    return [(row["file"], row["line"], row["reason"]) for row in rows]


def _details(night: Night) -> Any:
    return night.run.manifest("ratings").details


def _problem(spark: Any, lake: Path, path: Path | str, **sections: Any) -> str:
    with pytest.raises(InputError) as caught:
        _clean(spark, lake, path, **sections)
    assert str(caught.value).isprintable(), caught.value
    return str(caught.value)


@pytest.mark.extended
def test_sub_folders_and_every_file_are_in_the_accounts_by_name(spark: Any, tmp_path: Path) -> None:
    """Case 10, with a bad line in a sub-folder, and files that are no data."""
    root = tmp_path / "ratings"
    first = _csv(root / "a.csv", HALVES[0])
    second = _csv(root / "day=1+1" / "a.csv", [*HALVES[1], "x,1,4.0,5"])
    (root / "b.csv.tmp").write_text("copying")
    (root / "c.csv").write_text("")
    night, line = _clean(spark, tmp_path / "lake", root, clean={"max_quarantined_share": 0.1})
    assert _kept(night) == WORLD
    assert _refused(night) == [("day=1+1/a.csv", 14, "bad_user_id")]
    assert line == (
        "27 lines = 24 kept + 0 superseded + 1 quarantined + 2 header (1 bad_user_id); "
        "skipped 2 files (1 an unfinished copy, 1 empty)"
    )
    assert _details(night)["skipped"] == {"ratings": {"b.csv.tmp": "an unfinished copy", "c.csv": "empty"}}
    assert _details(night)["source_files"]["ratings"] == [
        {
            "name": name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "lines": lines,
            "headers": 1,
            "finished": True,
            "state": source_signature([path]),
        }
        for name, path, lines in (("a.csv", first, 13), ("day=1+1/a.csv", second, 14))
    ]


@pytest.mark.extended
def test_empty_parts_do_not_hide_bad_lines(spark: Any, tmp_path: Path) -> None:
    """Cases 7 and 8: as many empty files, and files of a notebook, as bad lines."""
    root = tmp_path / "ratings"
    _csv(root / "part-0.csv", [*LINES, "x17,3,4.0,1600000000"])
    (root / "part-1.csv").write_text("")
    _csv(root / ".ipynb_checkpoints" / "part-0-checkpoint.csv", LINES)
    assert "4.00% of the lines are bad, and clean.max_quarantined_share allows 1.00%: 1 bad_user_id" in _problem(
        spark, tmp_path / "lake", root
    )


@pytest.mark.extended
def test_names_with_pattern_characters_are_names(spark: Any, tmp_path: Path) -> None:
    """Cases 11 and 12, for source and lake, beside folders that such a pattern would find."""
    odd = "ex[12]{a,b}*?\\ %20+ü"
    for sibling in ("ex1a", "ex2b", "lake1"):
        _csv(tmp_path / sibling / "ratings.csv", ["9001,1,5.0,1600000000"])
    path = _csv(tmp_path / odd / "rat[ing]s.csv", [*LINES, "x,1,4.0,5"])
    lake = tmp_path / "lake[1]*{a}"
    for source in (path, f"file://{tmp_path}/{odd.replace('%', '%25').replace(' ', '%20')}"):
        night, _ = _clean(spark, lake, source, clean={"max_quarantined_share": 0.1})
        assert _kept(night) == WORLD
        assert _refused(night) == [("rat[ing]s.csv", 26, "bad_user_id")]


def test_a_source_replaced_with_its_size_and_time_is_cleaned_again(spark: Any, tmp_path: Path) -> None:
    """Case 23."""
    path = _csv(tmp_path / "ratings.csv", LINES)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    _clean(spark, tmp_path / "lake", path)
    path.write_text(path.read_text().replace(",5.0,", ",0.5,"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    night, _ = _clean(spark, tmp_path / "lake", path)
    assert {rating for rating, _ in _kept(night).values()} == {2.5, 4.0, 0.5}


def test_a_source_that_changes_while_it_is_read_is_noticed(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _csv(tmp_path / "ratings.csv", LINES)
    write = clean_ratings.write_clean_tables

    def changing(*arguments: Any, **others: Any) -> Any:
        written, status = write(*arguments, **others), path.stat()
        path.write_text(path.read_text().replace(",5.0,", ",0.5,"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return written

    monkeypatch.setattr(clean_ratings, "write_clean_tables", changing)
    assert _problem(spark, tmp_path / "lake", path) == (
        f"{path}: the source changed while it was read; run clean-ratings again"
    )


@pytest.mark.extended
def test_files_that_arrive_late_or_again_change_only_what_they_say(spark: Any, tmp_path: Path) -> None:
    """Night by night: a file with older ratings, the same file under another name, and one with corrections."""
    root = tmp_path / "in"
    _csv(root / "a.csv", LINES)
    _clean(spark, tmp_path / "lake", root, date="2026-01-01")
    late = [f"{user},{movie},0.5,{at - 5}" for (user, movie), (_, at) in WORLD.items()]
    _csv(root / "0-late.csv", [*late, "9,1,3.0,1500000000"])
    night, line = _clean(spark, tmp_path / "lake", root, date="2026-01-02")
    truth = WORLD | {(9, 1): (3.0, 1_500_000_000)}
    assert _kept(night) == truth
    assert line.startswith("51 lines = 25 kept + 24 superseded + 0 quarantined + 2 header; 1 of 2 files are new")
    before = night.run.manifest("ratings").content

    shutil.copy(root / "a.csv", root / "again.csv")
    night, line = _clean(spark, tmp_path / "lake", root, date="2026-01-03")
    assert _kept(night) == truth
    assert line.startswith("76 lines = 25 kept + 48 superseded + 0 quarantined + 3 header; 1 of 3 files are new")
    assert night.run.manifest("ratings").content == before

    # Of one time the higher rating counts, so a correction downwards needs a later time.
    corrected = ["1,0,5.0,1600001030", "1,1,0.5,1600001031", "1,2,0.5,1600001033"]
    assert [WORLD[1, movie] for movie in range(3)] == [(2.5, START + 10), (4.0, START + 11), (5.0, START + 12)]
    _csv(root / "corrections.csv", corrected)
    night, _ = _clean(spark, tmp_path / "lake", root, date="2026-01-03")
    assert _kept(night) == truth | {(1, 0): (5.0, START + 10), (1, 2): (0.5, START + 13)}

    (root / "again.csv").unlink()
    (root / "a.csv").unlink()
    _csv(root / "a-corrected.csv", ["1,1,1.0,1600001031", *LINES[2:]])
    night, _ = _clean(spark, tmp_path / "lake", root, date="2026-01-03")
    assert _kept(night)[1, 1] == (1.0, START + 11)


def test_a_last_line_that_was_cut_off_is_refused(spark: Any, tmp_path: Path) -> None:
    """Case 20. The same line is good with its end, in another file, and a whole line is good without its end."""
    root = tmp_path / "rat ings"
    cut, whole = _csv(root / "a+b.csv", LINES), _csv(root / "b.csv", ["23,5,4.0,1600023", "24,5,4.0,1600023001"])
    cut.write_text(cut.read_text() + "23,5,4.0,1600023")
    whole.write_text(whole.read_text().rstrip())
    night, line = _clean(spark, tmp_path / "lake", root, clean={"max_quarantined_share": 0.1})
    assert _refused(night) == [("a+b.csv", 26, "unfinished_line")]
    assert _kept(night) == WORLD | {(23, 5): (4.0, 1_600_023), (24, 5): (4.0, 1_600_023_001)}
    assert line.endswith("; 2 files have no line end after their last line, such as a+b.csv")


def test_a_delivery_far_smaller_than_that_of_the_last_night_stops(spark: Any, tmp_path: Path) -> None:
    """Case 21."""
    lake, path = tmp_path / "lake", tmp_path / "ratings.csv"
    _clean(spark, lake, _csv(path, LINES), date="2026-01-02")
    (lake / "runs" / "2026-01-03").mkdir()  # a night that never was complete
    _csv(path, LINES[:11])
    assert _problem(spark, lake, path, date="2026-01-04") == (
        f"{path}: 11 ratings are left after cleaning, 45.8% of the 24 of 2026-01-02, and "
        "clean.min_share_of_last_night asks for 50.0%; deliver the whole source, or lower the share once"
    )
    night, _ = _clean(spark, lake, path, date="2026-01-04", clean={"min_share_of_last_night": 0.4})
    assert len(_kept(night)) == 11


@pytest.mark.extended
def test_text_in_gzip_and_bzip2_with_other_separators(spark: Any, tmp_path: Path) -> None:
    """Cases 43, 44 and 46: lines are numbered in the unpacked text."""
    root = tmp_path / "in"
    root.mkdir()
    plain, bad = _csv(tmp_path / "x", HALVES[0]).read_bytes(), _csv(tmp_path / "y", [*HALVES[1], "x,1,4.0,5"])
    (root / "a.csv.gz").write_bytes(gzip.compress(plain.replace(b",", b";")))
    (root / "b.csv.bz2").write_bytes(bz2.compress(bad.read_bytes().replace(b",", b";")))
    (root / "c.csv.gz").write_bytes(gzip.compress(b""))
    (root / "other.txt").write_text("no table")
    night, line = _clean(spark, tmp_path / "lake", f"{root}/*.csv.*", clean={"max_quarantined_share": 0.1})
    assert line == "27 lines = 24 kept + 0 superseded + 1 quarantined + 2 header (1 bad_user_id)"
    assert _kept(night) == WORLD
    assert _refused(night) == [("b.csv.bz2", 14, "bad_user_id")]


def test_a_file_without_a_header(spark: Any, tmp_path: Path) -> None:
    """Case 40."""
    path = _csv(tmp_path / "ratings.csv", LINES, header=None)
    night, line = _clean(spark, tmp_path / "lake", path, source={"header": HEADER.split(",")})
    assert _kept(night) == WORLD
    assert line == "24 lines = 24 kept + 0 superseded + 0 quarantined"


@pytest.mark.extended
def test_many_small_files(spark: Any, tmp_path: Path) -> None:
    """Spark would start a job with one task per file only to list them."""
    for i in range(60):
        _csv(tmp_path / "in" / f"{i % 7}" / f"{i}.csv", [LINES[i % 24]])
    night, line = _clean(spark, tmp_path / "lake", tmp_path / "in")
    assert line == "120 lines = 24 kept + 36 superseded + 0 quarantined + 60 header"
    assert _kept(night) == WORLD


def _table(rows: list[str], **types: pa.DataType) -> pa.Table:
    values = [line.split(",") for line in rows]
    columns = {
        "user_id": pa.array([int(v[0]) for v in values], pa.int64()),
        "movie_id": pa.array([int(v[1]) for v in values], pa.int64()),
        "rating": pa.array([float(v[2]) for v in values], pa.float64()),
        "timestamp": pa.array([int(v[3]) for v in values], pa.int64()),
    }
    for name, given in types.items():
        column = columns[name]
        if pa.types.is_timestamp(given):
            scale = {"ns": 10**9, "us": 10**6, "ms": 10**3}[given.unit]
            column = pa.array([value * scale for value in column.to_pylist()])
        columns[name] = column.cast(given)
    return pa.table(columns)


def test_parquet_of_any_name_with_types_that_differ_between_its_files(spark: Any, tmp_path: Path) -> None:
    """Cases 10, 36, 45, 48 and 49, with a bad row in the last file."""
    root = tmp_path / "ratings"
    (root / "day=1").mkdir(parents=True)
    extra = pa.array([b"\x00"] * 6)
    times = pa.array([datetime.fromtimestamp(START, UTC)] * 6, pa.timestamp("ns"))
    first = _table(LINES[:6], user_id=pa.int32(), rating=pa.float32(), timestamp=pa.timestamp("ms"))
    first = first.append_column("meta.source", extra).append_column("seen at", times)
    pq.write_table(first, root / "a.pq")
    pq.write_table(_table(LINES[6:12], timestamp=pa.timestamp("ns")), root / "000000_0")
    pq.write_table(_table(LINES[12:18], timestamp=pa.timestamp("us", "UTC")), root / "b.PARQUET")
    types = {"movie_id": pa.uint16(), "rating": pa.decimal128(3, 1), "timestamp": pa.timestamp("us")}
    last = _table([*LINES[18:], "7,1,7.0,1600000000"], **types)
    pq.write_table(last, root / "day=1" / "part-0", row_group_size=2)
    (root / "empty.parquet").write_bytes(b"")
    night, line = _clean(spark, tmp_path / "lake", root, clean={"max_quarantined_share": 0.1})
    assert _kept(night) == WORLD
    assert _refused(night) == [("day=1/part-0", 7, "rating_out_of_range")]
    assert line == (
        "25 lines = 24 kept + 0 superseded + 1 quarantined (1 rating_out_of_range); skipped 1 file (1 empty); "
        "the worst file is day=1/part-0 with 1 bad of 7 lines"
    )


def test_parquet_with_times_of_spark_2(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    pq.write_table(_table(LINES, timestamp=pa.timestamp("us")), path, use_deprecated_int96_timestamps=True)
    assert _kept(_clean(spark, tmp_path / "lake", path)[0]) == WORLD


def _parquet(path: Path, **columns: Any) -> None:
    table = _table(LINES)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)


def test_parquet_that_cannot_be_read_is_one_line_with_file_column_and_types(spark: Any, tmp_path: Path) -> None:
    """Cases 13 and 47 to 52."""
    root, lake = tmp_path / "in", tmp_path / "lake"
    root.mkdir()
    a, b = root / "a.parquet", root / "b.parquet"
    _parquet(a)
    _parquet(b, user_id=pa.array(["u1"] * 24))
    assert _problem(spark, lake, root) == (
        f"{b}: user_id is string here and bigint in {a}; write all files of a table with one type"
    )
    _parquet(b, movie_id=pa.array([{"id": 1}] * 24))
    assert _problem(spark, lake, root) == f"{b}: movie_id is struct<id: int64>; expected a number or a text"
    pq.write_table(_table(LINES).drop_columns(["rating"]), b)
    assert _problem(spark, lake, root) == (
        f"{b}: the table lacks the column rating; found user_id, movie_id, timestamp; "
        "name the columns in source.columns"
    )
    b.write_bytes(a.read_bytes()[:-100])
    assert _problem(spark, lake, root).startswith(f"{b}: the Parquet file cannot be read; it was cut off, or is still")
    b.unlink()
    _csv(root / "c.csv", LINES)
    assert _problem(spark, lake, root) == (
        f"{root}: c.csv is text and a.parquet is Parquet; the files of a table are of one kind"
    )
    movies = tmp_path / "movies.parquet"
    pq.write_table(pa.table({"movie_id": [1], "genres": pa.array([[{"id": 1, "label": "Drama"}]])}), movies)
    assert _problem(spark, lake, a, source={"movies": str(movies)}) == (
        f"{movies}: genres is list<element: struct<id: int64, label: string>>; expected a text or a list of texts"
    )


def test_the_manifest_can_be_read_back(spark: Any, tmp_path: Path) -> None:
    """An up-to-date stage tells the same as the one that ran, from the manifest alone."""
    path = _csv(tmp_path / "ratings.csv", LINES)
    (night, first), (_, again) = (_clean(spark, tmp_path / "lake", path) for _ in range(2))
    assert first == again
    assert json.loads((night.run.table("ratings") / "_manifest.json").read_text())["details"]["source_files"]
