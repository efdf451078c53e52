"""The data set in a folder, and the error of one line if something is wrong with it. No session is needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import Scale, find_source

HEADERS = {
    "ratings.csv": "userId,movieId,rating,timestamp",
    "movies.csv": "movieId,title,genres",
    "tags.csv": "userId,movieId,tag,timestamp",
}
LINES = {
    "ratings.csv": "1,2,3.5,4",
    "movies.csv": "2,T,Drama",
    "tags.csv": "1,2,fun,4",
    "ratings.dat": "1::2::3::4",
    "movies.dat": "2::T::Drama",
    "users.dat": "1::F::1::10::48067",
    "tags.dat": "1::2::fun::4",
    "u.data": "1\t2\t3\t4",
    "u.item": "2|T|01-Jan-1995||x|" + "|".join("0" * 19),
    "u.user": "1|24|M|technician|85711",
}
LATEST, DAT, HUNDRED_K = ("ratings.csv", "movies.csv"), ("ratings.dat", "movies.dat"), ("u.data", "u.item")


def _write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("\n".join([*([HEADERS[name]] if name in HEADERS else []), LINES[name], ""]))
    return folder


def _find(path: Path, **settings: Any):
    return find_source(SourceSettings(path=str(path), **settings))


def _problem(path: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        _find(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "name", "tables", "scale", "encodings"),
    [
        (LATEST, "ml-latest", {"ratings", "movies"}, Scale(0.5, 5, 0.5), {"utf-8"}),
        ((*LATEST, "tags.csv"), "ml-latest", {"ratings", "movies", "tags"}, Scale(0.5, 5, 0.5), {"utf-8"}),
        ((*DAT, "users.dat"), "ml-1m", {"ratings", "movies", "users"}, Scale(1, 5, 1), {"iso-8859-1"}),
        # MovieLens-10M: half stars, no users, and UTF-8 as its README says.
        ((*DAT, "tags.dat"), "ml-1m", {"ratings", "movies", "tags"}, Scale(0.5, 5, 0.5), {"utf-8"}),
        ((*HUNDRED_K, "u.user"), "ml-100k", {"ratings", "movies", "users"}, Scale(1, 5, 1), {"iso-8859-1"}),
    ],
    ids=["latest", "latest with tags", "1M", "10M", "100k"],
)
def test_every_dialect_is_found_by_itself(
    tmp_path: Path, files: tuple[str, ...], name: str, tables: set[str], scale: Scale, encodings: set[str]
) -> None:
    source = _find(_write(tmp_path, *files))
    assert (source.format, set(source.paths), source.scale, source.integer_ids) == (name, tables, scale, True)
    assert {layout.encoding for layout in source.layouts.values() if layout} == encodings
    assert _find(tmp_path, format=name) == source


def test_real_data_sets_are_found(ml_small: Path, ml_1m: Path) -> None:
    assert _find(ml_small).format == "ml-latest"
    assert set(_find(ml_1m).paths) == {"ratings", "movies", "users"}


def test_the_encoding_may_be_set(tmp_path: Path) -> None:
    source = _find(_write(tmp_path, *LATEST), encoding="windows-1252")
    assert {layout.encoding for layout in source.layouts.values() if layout} == {"windows-1252"}


def test_none_or_more_than_one_dialect(tmp_path: Path) -> None:
    advice = "ratings.csv, ratings.dat, u.data; set source.format, or source.path to another folder"
    assert _problem(tmp_path) == f"{tmp_path}: holds none of {advice}"
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for own in (tmp_path, tmp_path / "mine.csv"):
        assert _problem(own).endswith(f"set source.format=table (kgspark init {own} writes such a configuration)")
    _write(tmp_path, *LATEST, *DAT)
    assert _problem(tmp_path) == f"{tmp_path}: holds more than one of {advice}"
    assert _find(tmp_path, format="ml-1m").format == "ml-1m"


def test_a_missing_path_or_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert _problem(missing).startswith(f"{missing}: no such file or folder; set source.path")
    _write(tmp_path, "ratings.dat")
    assert _problem(tmp_path) == f"{tmp_path / 'movies.dat'}: no such file; format ml-1m needs it"
    assert _problem(tmp_path, format="ml-100k") == f"{tmp_path / 'u.data'}: no such file; format ml-100k needs it"


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv", "ratings.dat", "u.data", "u.item"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    _write(tmp_path, *next(files for files in (LATEST, DAT, HUNDRED_K) if name in files))
    (tmp_path / name).write_bytes(b"")
    assert _problem(tmp_path) == f"{tmp_path / name}: the file is empty; expected at least one line of data"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda text: text.split("\n")[1].encode(), "expected the header userId,movieId,rating,timestamp, found '1,2,"),
        (lambda text: text.replace("userId,movieId", "movieId,userId").encode(), "found 'movieId,userId,rating,"),
        (lambda text: text.replace(",", ";").encode(), "found 'userId;movieId;rating;timestamp'"),
        (lambda text: b"\n" + text.encode(), "found ''"),
        (lambda text: text.encode("utf-16"), "the file is UTF-16; convert it to UTF-8"),
        (lambda text: b"\xfe\xff" + text.encode("utf-16-be"), "the file is UTF-16; convert it to UTF-8"),
        (lambda text: text.encode("utf-16-le"), "the file is UTF-16; convert it to UTF-8 (iconv -f utf-16le -t utf-8)"),
        (lambda text: bytes(range(256)) * 500, r"the file is no text: it begins with '\x00\x01"),
    ],
    ids=["no header", "other order", "other separator", "empty line first", "UTF-16", "UTF-16BE", "no mark", "binary"],
)
def test_a_wrong_header_is_one_clear_line(tmp_path: Path, damage: Callable[[str], bytes], found: str) -> None:
    path = _write(tmp_path, *LATEST) / "ratings.csv"
    path.write_bytes(damage(path.read_text()))
    problem = _problem(tmp_path)
    assert problem.startswith(f"{path}:")
    assert found in problem
    assert len(problem) < 500


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_header_with_any_line_end_or_a_byte_order_mark(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path, *LATEST) / "ratings.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", ending).encode())
    assert _find(tmp_path).format == "ml-latest"


def test_utf_16_is_seen_without_a_header_too(tmp_path: Path) -> None:
    path = _write(tmp_path, *DAT) / "ratings.dat"
    path.write_bytes(path.read_text().encode("utf-16"))
    assert _problem(tmp_path).startswith(f"{path}: the file is UTF-16")


COLUMNS = {"user": "who", "movie": "what", "rating": "stars", "timestamp": "at"}


def test_a_csv_table_with_columns_of_any_name_and_order(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbf"at",note,what,"stars",who\r\n1,x,2,3,4\r\n')
    source = _find(path, format="table", columns=COLUMNS, ids="string")
    assert source.layouts["ratings"].columns == ("timestamp", "_1", "movie_id", "rating", "user_id")
    assert (source.integer_ids, set(source.paths)) == (False, {"ratings"})


def test_a_table_in_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    (folder / "day=1").mkdir(parents=True)
    (folder / "_SUCCESS").write_text("")
    (folder / "a.csv").write_text("who,what,stars,at\n1,2,3,4\n")
    (folder / "b.csv").write_text("")
    (folder / "day=1" / "c.csv").write_text("who,what,stars,at\n")
    assert _find(folder, format="table", columns=COLUMNS).layouts["ratings"].header == "who,what,stars,at"
    # Fields would be confused if every file had its own order.
    (folder / "d.csv").write_text("what,who,stars,at\n")
    assert _problem(folder, format="table", columns=COLUMNS) == (
        f"{folder / 'd.csv'}:1: the header differs from that of {folder / 'a.csv'}; the files of a table share one"
    )


def test_a_parquet_table_has_no_text_layout(tmp_path: Path) -> None:
    pq.write_table(pa.table({"who": [1], "what": [2], "stars": [3], "at": [4]}), tmp_path / "part-0.parquet")
    assert _find(tmp_path, format="table", columns=COLUMNS).layouts == {"ratings": None}


def test_wrong_tables(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("who,what,stars\n1,2,3\n")
    assert _problem(path, format="table", columns=COLUMNS) == (
        f"{path}:1: the header lacks at; found who,what,stars; name the columns in source.columns".replace(",", ", ", 2)
    )
    path.write_text("who,what,stars,at\n")
    movies = tmp_path / "movies.csv"
    table = {"format": "table", "columns": COLUMNS, "movies": str(movies)}
    assert _problem(path, **table) == f"{movies}: no such file or folder; source.movies names the movie table"
    movies.write_text("film,title\n1,T\n")
    assert _problem(path, **table).startswith(f"{movies}:1: the header lacks what; found film, title; ")
    movies.write_text("")
    assert _problem(path, **table).startswith(f"{movies}: the file is empty")
    movies.write_text("what\n1\n")
    assert _find(path, **table).layouts["movies"].columns == ("movie_id",)
    named = table | {"columns": COLUMNS | {"movies_id": "id", "title": "nme", "genres": "kinds"}}
    assert _problem(path, **named).startswith(f"{movies}:1: the header lacks id, nme, kinds; found what; ")
    movies.write_text("id,kinds,nme\n1,Drama,T\n")
    assert _find(path, **named).layouts["movies"].columns == ("movie_id", "genres", "title")
    path.write_text("")
    assert _problem(path, **table).startswith(f"{path}: the file is empty")
    (tmp_path / "folder").mkdir()
    assert _problem(tmp_path / "folder", format="table") == f"{tmp_path / 'folder'}: the folder holds no file"
