"""`kgspark init` on tables of many shapes: what it writes is loaded, and describes what the tables have."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from kgspark import config
from kgspark.errors import InputError
from kgspark.inspection.init import run
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.source.dialects import find_source
from nights import BUNDLED

FIRST = datetime(2021, 5, 1, 12, 30, tzinfo=UTC)
# 12 users with some 10 of 20 items each; the rating goes by user and item.
PAIRS = [(user, item) for user in range(12) for item in range(20) if (user * 7 + item * 3) % 2 == 0]
GENRES = ("Drama", "Comedy", "War")


def epoch(number: int) -> int:
    """A time in seconds since 1970."""
    return int((FIRST + timedelta(hours=number)).timestamp())


def iso(number: int) -> str:
    return (FIRST + timedelta(hours=number)).strftime("%Y-%m-%d %H:%M:%S")


def rows(row: Callable[[int, int, int], tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [row(number, user, item) for number, (user, item) in enumerate(PAIRS)]


def csv_text(header: str, lines: list[tuple[object, ...]], separator: str = ",") -> str:
    text = [separator.join(map(str, line)) for line in lines]
    return "\n".join(([header] if header else []) + text) + "\n"


def written(folder: Path, path: Path | None = None) -> tuple[NightSettings, dict[str, Any]]:
    """The settings that init writes for a folder, and the plain values; the lines' layout must be found, too."""
    out = folder.parent / "own.yaml"
    run(str(path or folder), (), lambda line: None, out=str(out))
    settings = config.load(NightSettings, out)
    find_source(settings.source)
    return settings, yaml.safe_load(out.read_text(encoding="utf-8"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def films(data: Path, name: str = "films.csv", ids: Callable[[int], object] = lambda i: f"f{i}") -> None:
    lines = [(ids(i), f"Film {i} (200{i % 10})", f"{GENRES[i % 3]}|{GENRES[(i + 1) % 3]}") for i in range(20)]
    (data / name).write_text(csv_text("film,name,genres", lines), encoding="utf-8")


def test_the_tables_of_the_readme(data: Path) -> None:
    lines = rows(lambda n, u, i: (f"u{u}", f"f{i}", 1 + (u + i) % 9 / 2, epoch(n)))
    (data / "ratings.csv").write_text(csv_text("member,film,stars,at", lines), encoding="utf-8")
    films(data)
    people = [(f"u{u}", ("DE", "FR")[u % 2], 20 + u % 3) for u in range(12)]
    (data / "members.csv").write_text(csv_text("member,country,ageGroup", people), encoding="utf-8")
    (data / "notes.txt").write_text("only text\n", encoding="utf-8")
    settings, values = written(data)
    columns = settings.source.columns
    assert (columns.user, columns.movie, columns.rating, columns.timestamp) == ("member", "film", "stars", "at")
    assert (columns.title, columns.genres, settings.source.movies.path) == ("name", "genres", str(data / "films.csv"))
    assert (settings.source.ids, settings.source.timestamp_unit) == ("string", "seconds")
    assert (settings.clean.rating_min, settings.clean.rating_max, settings.clean.rating_step) == (0.5, 5, 0.5)
    assert values["source"]["path"] == "data/ratings.csv"
    assert {"has_country", "has_age_group"} <= set(settings.relations)
    assert settings.relations["has_age_group"].head.column == "member"
    assert settings.lake == data.parent / "lake"
    assert "notes.txt" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_semicolons_a_decimal_comma_and_windows_1252(data: Path) -> None:
    lines = rows(lambda n, u, i: (n, u + 1, i + 1, f"{1 + (u + i) % 9 / 2:.1f}".replace(".", ","), iso(n), "schön"))
    text = csv_text("Nr;KundenID;Artikel_ID;Bewertung;Datum;Kommentar", lines, ";")
    (data / "b.csv").write_bytes(text.encode("windows-1252"))
    (data / "b.csv").write_bytes(text.replace("KundenID", "customerID").replace("Artikel", "article").encode("cp1252"))
    settings, _ = written(data)
    source = settings.source
    assert (source.columns.user, source.columns.movie) == ("customerID", "article_ID")
    assert (source.decimal, source.encoding, source.timestamp_unit, source.ids) == (
        ",",
        "windows-1252",
        "iso",
        "integer",
    )


def test_no_header_line(data: Path) -> None:
    lines = rows(lambda n, u, i: (u + 1, i + 1, 1 + (u + i) % 5, epoch(n)))
    (data / "u.csv").write_text(csv_text("", lines), encoding="utf-8")
    settings, _ = written(data)
    columns = settings.source.columns
    assert settings.source.header == ("column_1", "column_2", "column_3", "column_4")
    assert (columns.user, columns.movie, columns.rating, columns.timestamp) == settings.source.header
    assert "GUESSED" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_two_colons_between_fields(data: Path) -> None:
    lines = rows(lambda n, u, i: (u + 1, i + 1, 1 + (u + i) % 5, epoch(n)))
    (data / "mine.dat").write_text(csv_text("user::item::rating::time", lines, "::"), encoding="utf-8")
    assert written(data)[0].source.separator == "::"


def test_ten_points_and_milliseconds_in_json_lines_with_gzip(data: Path) -> None:
    lines = [{"reviewerID": f"A{u}", "asin": f"B{i}", "overall": 1 + (u + i) % 10, "ts": epoch(n) * 1000, "text": "x"}
             for n, (u, i) in enumerate(PAIRS)]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (data / "reviews.json.gz").write_bytes(gzip.compress(text.encode()))
    settings, _ = written(data, data / "reviews.json.gz")
    assert (settings.source.columns.user, settings.source.columns.movie) == ("reviewerID", "asin")
    assert (settings.source.timestamp_unit, settings.clean.rating_max) == ("milliseconds", 10)
    assert settings.relations["liked"].where == "rating >= 8"
    assert settings.relations["watched"].where == "rating < 8"


def test_parquet_with_its_own_types_and_a_list_of_genres(data: Path) -> None:
    times = pa.array([FIRST + timedelta(hours=n) for n in range(len(PAIRS))], pa.timestamp("us"))
    users, items = (pa.array([pair[side] for pair in PAIRS]) for side in (0, 1))
    ratings = pa.table(
        {"user_id": users, "item_id": items, "score": [float(n % 2) for n in users.to_pylist()], "when": times}
    )
    pq.write_table(ratings, data / "part-0.parquet")
    pq.write_table(ratings.slice(5), data / "part-1.parquet")
    catalogue = {"id": list(range(20)), "title": [f"T{i}" for i in range(20)], "genres": [["a", "b"]] * 20}
    pq.write_table(pa.table(catalogue), data / "catalogue.parquet")
    settings, values = written(data)
    assert values["source"]["path"] == "data/part-*.parquet"
    assert (settings.source.columns.movies_id, settings.source.columns.timestamp) == ("id", "when")
    assert "timestamp_unit" not in values["source"]
    assert settings.relations["liked"].where == "rating >= 1"


def test_events_with_types_in_folders_of_days(data: Path) -> None:
    types = ("view", "addtocart", "transaction")
    for day in (1, 2):
        lines = rows(lambda n, u, i: (epoch(n) * 1000, f"v{u}", types[n % 3], i + 100))
        (data / f"ds=2021-05-0{day}").mkdir()
        (data / f"ds=2021-05-0{day}" / "part.csv").write_text(
            csv_text("timestamp,visitorid,event,itemid", lines), "utf-8"
        )
    settings, values = written(data)
    assert settings.source.events == {"view": 1.0, "addtocart": 3.0, "transaction": 5.0}
    assert (settings.source.columns.rating, settings.source.columns.event) == (None, "event")
    assert values["source"]["path"] == "data"


def test_plays_without_times(data: Path) -> None:
    lines = rows(lambda n, u, i: (f"{u:040x}", f"SO{i}", 1 + n % 37))
    (data / "plays.tsv").write_text(csv_text("listener\tsong\tplay_count", lines, "\t").replace(",", "\t"), "utf-8")
    settings, _ = written(data)
    columns = settings.source.columns
    assert (columns.rating, columns.count, columns.timestamp) == (None, "play_count", None)
    assert "watched_with" not in settings.relations
    assert "MISSING: no column has times" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_dates_of_another_order_are_told(data: Path) -> None:
    lines = rows(lambda n, u, i: (u, i, 1 + n % 5, f"{1 + n % 28:02}.05.2021"))
    (data / "r.csv").write_text(csv_text("user,book,rating,date", lines), encoding="utf-8")
    settings, _ = written(data)
    assert settings.source.columns.timestamp is None
    assert "MISSING: date has 01.05.2021" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_genres_by_a_comma_and_ids_with_leading_zeros(data: Path) -> None:
    lines = rows(lambda n, u, i: (f"{u:04}", f"{i:04}", 1 + n % 5, iso(n)))
    (data / "r.csv").write_text(csv_text("userId,bookId,rating,created_at", lines), encoding="utf-8")
    books = [f'{i:04},"Book, the {i}","{GENRES[i % 3]}, {GENRES[(i + 1) % 3]}"' for i in range(20)]
    (data / "books.csv").write_text("\n".join(["bookId,title,categories", *books]) + "\n", encoding="utf-8")
    settings, _ = written(data)
    assert (settings.source.ids, settings.source.genre_separator) == ("string", ",")
    assert settings.source.columns.genres == "categories"


def test_a_question_about_two_columns_is_a_comment(data: Path) -> None:
    lines = rows(lambda n, u, i: (u, u + 50, i, 1 + n % 5))
    (data / "r.csv").write_text(csv_text("user_id,user_group,item,rating", lines), encoding="utf-8")
    written(data)
    assert "or is it user_group?" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_a_scale_of_ones_own_is_to_be_checked(data: Path) -> None:
    lines = rows(lambda n, u, i: (u, i, 100 + 7 * (n % 5)))
    (data / "r.csv").write_text(csv_text("user,item,rating", lines), encoding="utf-8")
    settings, _ = written(data)
    assert (settings.clean.rating_min, settings.clean.rating_max, settings.clean.rating_step) == (100, 128, 7)
    assert "CHECK" in (data.parent / "own.yaml").read_text(encoding="utf-8")


def test_movielens_is_recognised_also_inside_a_folder(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "ml-latest-small").symlink_to(BUNDLED)
    text = run(str(tmp_path / "unpacked"), (), lambda line: None, out=str(tmp_path / "own.yaml"))["text"]
    assert yaml.safe_load(text) == {"lake": "lake", "source": {"path": "unpacked/ml-latest-small"}}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "title,year\nx,2001\ny,2002\n", "no table has a column of users and one of items"),
        ("a.csv", "just a line\n", "no separator splits"),
        ("a.csv", "user,user,rating\n1,2,3\n", "has 'user' twice"),
        ("a.zip", "PK\x03\x04", "a zip archive"),
        ("a.json", "[1, 2]\n", "write one object per line"),
    ],
)
def test_what_is_no_table_of_ratings_is_one_line(data: Path, name: str, content: str, says: str) -> None:
    (data / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says) as told:
        run(str(data / name), (), lambda line: None, out=str(data.parent / "own.yaml"))
    assert "\n" not in str(told.value)
    assert not (data.parent / "own.yaml").exists()


def test_a_file_that_is_there_is_not_overwritten(data: Path) -> None:
    out = data.parent / "own.yaml"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="exists already"):
        run(str(BUNDLED), (), lambda line: None, out=str(out))
    assert out.read_text(encoding="utf-8") == "mine"


def test_print_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    run(str(BUNDLED), (), printed.append, print=True)
    assert "source:" in printed[0]
    assert not list(tmp_path.iterdir())
