"""The list of a source's files: what is read, what is skipped and why, and what a file is. No session is needed."""

import bz2
import gzip
import lzma
import os
import zipfile
from pathlib import Path

import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.spark.cleaning.source.files import find_files, format_skipped
from kgspark.spark.cleaning.source.kinds import Kind, kind_of

CSV = "user_id,movie_id,rating,timestamp\n1,2,4.0,1600001020\n"


def _write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CSV)
    return root


def _problem(path: Path | str, **settings: object) -> str:
    given = {"path": str(path), "format": "table", **settings}
    with pytest.raises(InputError) as caught:
        find_source(SourceSettings.model_validate(given))
    problem = str(caught.value)
    assert problem.isprintable(), problem
    assert len(problem) < 600
    return problem


def test_files_of_all_sub_folders_are_read_and_others_are_skipped_with_a_reason(tmp_path: Path) -> None:
    read = ["a.csv", "b+ c%20.csv", "day=1/hour=2/c.csv", "plain/d.csv", "plain/ü.csv"]
    skipped = {
        "_SUCCESS": "bookkeeping of its writer",
        ".a.csv.crc": "bookkeeping of its writer",
        "_b.csv": "hidden",
        "_temporary": "hidden",
        ".ipynb_checkpoints": "hidden",
        "b.csv._COPYING_": "an unfinished copy",
        "plain/b.csv.tmp": "an unfinished copy",
        "a.csv~": "a backup copy",
        "plain/empty.csv": "empty",
    }
    _write(tmp_path, *read, "_temporary/0/x.csv", ".ipynb_checkpoints/a-checkpoint.csv")
    _write(tmp_path, *[name for name in skipped if not (tmp_path / name).exists()])
    (tmp_path / "plain" / "empty.csv").write_text("")
    found = find_files(str(tmp_path), "")
    assert [found.name(file) for file in found.files] == sorted(read)
    assert found.skipped == skipped
    assert all(file.is_absolute() for file in found.files)
    assert format_skipped(found.skipped) == (
        "skipped 7 files (1 a backup copy, 2 an unfinished copy, 1 empty, 3 hidden)"
    )
    assert format_skipped({"_SUCCESS": "bookkeeping of its writer"}) == ""


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere", "x.csv")
    root = _write(tmp_path / "in", "a.csv")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "around").symlink_to(root)
    found = find_files(str(root), "")
    assert [found.name(file) for file in found.files] == ["a.csv", "linked/x.csv"]
    assert found.skipped == {"around": "a link to a folder above"}
    (root / "b.csv").symlink_to(tmp_path / "nowhere")
    assert (
        _problem(root) == f"{root / 'b.csv'}: a link to a file that is not there; remove the link, or deliver the file"
    )


def test_patterns_uris_and_names_that_look_like_patterns(tmp_path: Path) -> None:
    _write(tmp_path, "in/a.csv", "in/b.csv", "in/c.txt", "in/sub/d.csv", "export[12]/x.csv", "export1/x.csv", "a b.csv")

    def names(text: str) -> list[str]:
        found = find_files(text, "")
        return [found.name(file) for file in found.files]

    assert names(f"{tmp_path}/in/*.csv") == ["a.csv", "b.csv"]
    assert names(f"{tmp_path}/in/**/*.csv") == ["a.csv", "b.csv", "sub/d.csv"]
    assert names(f"{tmp_path}/*/x.csv") == ["export1/x.csv", "export[12]/x.csv"]
    assert find_files(f"{tmp_path}/export[12]/x.csv", "").files == (tmp_path / "export[12]" / "x.csv",)
    assert find_files(f"file://{tmp_path}/a%20b.csv", "").files == (tmp_path / "a b.csv",)
    assert _problem(f"{tmp_path}/in/*.parquet").startswith(f"{tmp_path}/in/*.parquet: no such file or folder")
    assert _problem("dbfs:/ratings").startswith("dbfs:/ratings: dbfs is not read; mount the storage")


def test_a_pattern_reads_nothing_of_a_folder_that_is_skipped(tmp_path: Path) -> None:
    _write(tmp_path, "a/x.csv", "_temporary/0/x.csv", "b.tmp/x.csv")
    for pattern in ("*", "**/*.csv"):
        found = find_files(f"{tmp_path}/{pattern}", "")
        assert [found.name(file) for file in found.files] == ["a/x.csv"]
        assert found.skipped == {"_temporary": "hidden", "b.tmp": "an unfinished copy"}


def test_a_file_that_spark_hides_is_refused_by_its_name(tmp_path: Path) -> None:
    path = _write(tmp_path, "_ratings.csv") / "_ratings.csv"
    assert _problem(path) == f"{path}: by its name, this file is hidden; rename it if it holds the data"
    assert _problem(tmp_path) == f"{tmp_path}: the folder holds no file; skipped 1 file (1 hidden)"


@pytest.mark.parametrize(
    ("log", "name"), [("_delta_log/0.json", "Delta"), (".hoodie/x", "Hudi"), ("metadata/v1.metadata.json", "Iceberg")]
)
def test_table_formats_are_refused_because_their_logs_say_which_files_count(
    tmp_path: Path, log: str, name: str
) -> None:
    _write(tmp_path, "in/part-0.parquet", f"in/{log}")
    assert _problem(tmp_path).startswith(f"{tmp_path / 'in'}: the table is in the format {name}, ")


def test_a_signature_changes_with_a_file_of_equal_size_and_time_and_not_with_a_skipped_one(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.csv") / "a.csv"
    before = find_files(str(tmp_path), "").signature
    _write(tmp_path, "_SUCCESS")
    assert find_files(str(tmp_path), "").signature == before
    _write(tmp_path, "b/c.csv")
    assert find_files(str(tmp_path), "").signature != before
    (tmp_path / "b" / "c.csv").unlink()
    assert find_files(str(tmp_path), "").signature == before
    status = path.stat()
    path.write_text(CSV.replace("4.0", "0.4"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert find_files(str(tmp_path), "").signature != before


def test_each_kind_of_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ratings.zip", "w") as archive:
        archive.writestr("ratings.csv", CSV)
    contents = {
        "a.csv": (CSV.encode(), "text"),
        "a.csv.gz": (gzip.compress(CSV.encode()), "text in gzip"),
        "a.csv.bz2": (bz2.compress(CSV.encode()), "text in bzip2"),
        "000000_0": (b"PAR1....PAR1", "Parquet"),
        "a.pq": (b"PAR1....PAR1", "Parquet"),
        "b.csv": ((tmp_path / "ratings.zip").read_bytes(), "the file is a zip archive or an Excel workbook; unpack it"),
        "a.csv.xz": (lzma.compress(CSV.encode()), "the file is compressed by xz; unpack it"),
        "a.csv.zst": (b"\x28\xb5\x2f\xfd" + b"\0" * 40, Kind.ZSTD),
        "a.7z": (b"7z\xbc\xaf\x27\x1c", "the file is a 7z archive; unpack it"),
        "a.orc": (b"ORC\x0a", "the file is ORC; beside its path, set format: spark and reader: orc"),
        "utf-16.csv": (CSV.encode("utf-16"), "the file is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"),
        "be.csv": (CSV.encode("utf-16-be"), "the file is UTF-16; convert it to UTF-8 (iconv -f utf-16be -t utf-8)"),
        "hidden.csv": (
            gzip.compress(b"x"),
            "the file is text in gzip, but Spark goes by its name; rename it",
        ),
        "plain.gz": (CSV.encode(), "the file is text, but Spark goes by its name; rename it to end in .csv"),
        "a.snappy": (CSV.encode(), "the file is text, but Spark goes by its name; rename it to end in .csv"),
    }
    for name, (data, expected) in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        if expected in list(Kind):
            assert kind_of(path) == expected, name
        else:
            assert expected in _problem(path), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}]\n', "the file is JSON, by its first line '[{\"a\": 1}]'; write one object per line"),
        ("<html>\n", "the file is HTML or XML, by its first line '<html>'; write it as CSV or Parquet"),
        ("\x1b[31m\x07,b\n", r"the file is no text: it begins with '\x1b[31m\x07,b'; write it as CSV or Parquet"),
        ("A1,B2,4.0,1600001020\n", "1: the first line, 'A1,B2,4.0,1600001020', holds values instead of column names; "
         "name the columns of the file, in order, in source.header"),
        ("user_id,movie_id,rating,timestamp,rating\n", "1: the header has rating twice, so its values are uncertain; "
         "rename one of the columns"),
        ("user_id movie_id rating timestamp\n", "1: the header lacks user_id, movie_id, rating, timestamp; found "
         "user_id movie_id rating timestamp; name the columns in source.columns"),
    ],
)  # fmt: skip
def test_a_text_without_the_columns_is_one_line_that_says_what_it_is(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    assert _problem(path).removeprefix(f"{path}:").removeprefix(" ") == expected


def test_a_compressed_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:20])
    assert _problem(path).startswith(f"{path}: the file cannot be unpacked: ")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_by_the_header(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "ratings.txt"
    path.write_text('"timestamp","user_id","a, b; c\t|d","movie_id","rating"\n'.replace('","', f'"{separator}"'))
    layout = find_source(SourceSettings(path=str(path), format="table")).layouts["ratings"]
    assert layout is not None
    assert (layout.separator, layout.columns) == (separator, ("timestamp", "user_id", "_2", "movie_id", "rating"))


def test_files_without_a_header_have_the_configured_names(tmp_path: Path) -> None:
    path = tmp_path / "ratings.txt"
    path.write_text("7;1;2;4.0;1600001020\n")
    names = ["shop", "user_id", "movie_id", "rating", "timestamp"]
    layout = find_source(SourceSettings(path=str(path), format="table", header=names)).layouts["ratings"]
    assert layout is not None
    assert (layout.separator, layout.header) == (";", None)
    assert layout.columns == ("_0", "user_id", "movie_id", "rating", "timestamp")
    assert _problem(path, header=names[:4]) == ("source.header: lacks timestamp; name the columns in source.columns")
    path.write_text(CSV)
    assert "the file has the header line" in _problem(path, header=CSV.split("\n")[0].split(","))


def test_columns_that_are_named_must_be_there(tmp_path: Path) -> None:
    ratings = _write(tmp_path, "ratings.csv") / "ratings.csv"
    movies = tmp_path / "movies.csv"
    movies.write_text("movie_id,name\n2,T\n")
    assert find_source(SourceSettings(path=str(ratings), format="table", movies=str(movies)))
    problem = _problem(ratings, movies=str(movies), columns={"title": "nme"})
    assert problem == f"{movies}:1: the header lacks nme; found movie_id, name; name the columns in source.columns"
    problem = _problem(ratings, columns={"user": "id", "movie": "id"})
    assert problem == "source.columns: id is the name of 2 columns of one table; give each its own"
