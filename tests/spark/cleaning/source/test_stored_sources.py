"""Sources in an object store give the tables, accounts and messages of the same files on a disk."""

import bz2
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.config import load
from kgspark.errors import ConfigError, InputError, KgsparkError
from kgspark.night.night import Night
from kgspark.night.reads import own_table_signatures, refused_lines
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_tables, read_layouts
from kgspark.spark.cleaning.source.files import find_files
from kgspark.spark.own_tables import read_own_table
from kgspark.stages import clean_ratings
from kgspark.stores.store import Store
from nights import a_night, configuration
from s3_server import S3
from worlds.tastes import write_world

HEADER = "user_id,movie_id,rating,timestamp"
CSV = f"{HEADER}\n1,2,4.0,1600001020\n"
CLEAN = ("ratings", "movies", "quarantine", "seen", "refused_pairs")


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A place of its own in the store."""
    s3.use(monkeypatch)
    return Store(s3.new_uri())


def _deliver(folder: Path, store: Store) -> None:
    """The files of a folder, as objects."""
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())


def _write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _copied(lake: Path) -> set[str]:
    """The names of all copies of objects in a lake; nothing else may be beside them."""
    found = {path.relative_to(lake / "sources") for path in (lake / "sources").rglob("*") if path.is_file()}
    others = {path.name for path in found if path.parts[1] != "files"}
    assert others <= {"place.json", "objects.jsonl", ".lock"}
    return {"/".join(path.parts[2:]) for path in found if path.parts[1] == "files"}


def _clean(spark: Any, lake: Path, source: dict[str, Any], day: int = 1, **clean: Any) -> tuple[Night, str]:
    said: list[str] = []
    free = {"max_quarantined_share": 0.7, "min_share_of_last_night": 0.0}
    night = a_night(lake, spark, said.append, source=source, run_date=f"2026-01-{day:02}", clean=free | clean)
    clean_ratings.run(night)
    return night, said[-1]


def _assert_equal(one: Night, other: Night) -> None:
    tables = one.run.manifest("ratings").details["tables"]
    assert tables == other.run.manifest("ratings").details["tables"]
    for table in tables:
        found, expected = one.run.manifest(table), other.run.manifest(table)
        assert found.content == expected.content is not None, table
        assert [file.sha256 for file in found.files] == [file.sha256 for file in expected.files], table
    of_one, of_other = (night.run.manifest("ratings").details for night in (one, other))
    for key in ("accounts", "skipped", "hints", "id_type", "reading", "tables", "worst_file"):
        assert of_one[key] == of_other[key], key
    files = [
        {name: [file | {"state": ""} for file in read] for name, read in details["source_files"].items()}
        for details in (of_one, of_other)
    ]
    assert files[0] == files[1]


def _lines(*ratings: tuple[int, int, float]) -> str:
    return f"{HEADER}\n" + "".join(f"{user},{movie},{stars},{1600000000 + user}\n" for user, movie, stars in ratings)


TEXTS: dict[str, str | bytes] = {
    "logs/day=1/ratings-a.csv.gz": gzip.compress(_lines((1, 1, 4.0), (1, 2, 7.0), (2, 1, 3.0)).encode()),
    "logs/day=2/hour=1/b+ c%20ü[1].csv": _lines((2, 1, 5.0), (3, 9, 4.0)) + "4,1\n",
    "logs/day=2/empty.csv": "",
    "logs/_SUCCESS": "",
    "logs/_temporary/0/x.csv": "no part of it",
}
TABLE = pa.table({"user_id": [1, 2], "movie_id": [1, 2], "rating": [4.0, 9.0], "timestamp": [1600000001, 1600000002]})


@pytest.mark.extended
def test_a_night_from_a_store_equals_that_from_a_disk(spark: Any, tmp_path: Path, s3: S3, bucket: Store) -> None:
    disk, lakes = tmp_path / "in", {"disk": tmp_path / "lake-1", "store": tmp_path / "lake-2"}
    _write(disk, TEXTS)
    (disk / "films").mkdir()
    films = pa.table({"movie_id": [1, 2, 3], "title": ["a", "b", "c"], "genres": [["x"], ["y", "x"], []]})
    pq.write_table(films, disk / "films" / "a.parquet")
    _deliver(disk, bucket)
    for folder in ("logs", "logs/day=2"):  # as consoles mark a folder
        s3.file_system().create_dir(f"{bucket.uri.removeprefix('s3://')}/{folder}")
    nights = {}
    for name, place in (("disk", str(disk)), ("store", bucket.uri)):
        source = {"path": f"{place}/logs", "format": "table", "movies": f"{place}/films/*.parquet"}
        nights[name], said = _clean(spark, lakes[name], source)
        assert "skipped 2 files (1 empty, 1 hidden)" in said
    _assert_equal(nights["store"], nights["disk"])
    assert not (lakes["disk"] / "sources").exists()
    assert _copied(lakes["store"]) == {"day=1/ratings-a.csv.gz", "day=2/hour=1/b+ c%20ü[1].csv", "a.parquet"}
    quarantine = pq.read_table(nights["store"].run.table("quarantine")).select(["file", "line", "reason"]).to_pylist()
    assert {(row["file"], row["line"], row["reason"]) for row in quarantine} == {
        ("day=1/ratings-a.csv.gz", 3, "rating_out_of_range"),
        ("day=2/hour=1/b+ c%20ü[1].csv", 3, "unknown_movie"),
        ("day=2/hour=1/b+ c%20ü[1].csv", 4, "wrong_field_count"),
    }
    assert clean_ratings.run(nights["store"]).ran is False


def test_movielens_in_a_store_is_known_by_its_names(tmp_path: Path, bucket: Store) -> None:
    write_world(tmp_path / "in", groups=1, users=4, movies=2)
    _deliver(tmp_path / "in", bucket)
    settings = [SourceSettings(path=place) for place in (str(tmp_path / "in"), f"{bucket.uri}/")]
    disk, store = (read_layouts(each, find_tables(each, lake=tmp_path / "lake")) for each in settings)
    assert store.format == disk.format == "ml-latest"
    assert store.layouts == disk.layouts
    assert store.scale == disk.scale
    for table, files in store.files.items():
        assert [file.read_bytes() for file in files.files] == [file.read_bytes() for file in disk.files[table].files]
        assert [files.place(file) for file in files.files] == [f"{bucket.uri}/{table}.csv"]


@pytest.mark.extended
def test_parquet_and_json_lines_of_a_store_equal_those_of_a_disk(spark: Any, tmp_path: Path, bucket: Store) -> None:
    disk = tmp_path / "in"
    for day in (1, 2):
        (disk / f"ds=2026-01-0{day}").mkdir(parents=True)
        pq.write_table(TABLE.slice(day - 1, 1), disk / f"ds=2026-01-0{day}" / "x.parquet")
    lines = [json.dumps(row) + "\n" for row in TABLE.to_pylist()]
    _write(disk, {"lines/a.jsonl.bz2": bz2.compress(lines[0].encode()), "lines/b": "".join(lines)})
    _deliver(disk, bucket)
    for number, (path, others) in enumerate([("ds=*/*.parquet", {"columns": {"timestamp": "ds"}}), ("lines", {})]):
        found = [
            _clean(spark, tmp_path / f"{number}-{name}", {"path": f"{place}/{path}", "format": "table", **others})[0]
            for name, place in (("disk", disk), ("store", bucket.uri))
        ]
        _assert_equal(*found)
        assert found[0].run.manifest("ratings").rows == 1


def test_own_tables_of_a_store_equal_those_of_a_disk(spark: Any, tmp_path: Path, bucket: Store) -> None:
    disk = tmp_path / "in"
    _write(disk, {"facts/day=1/a.csv.gz": gzip.compress(b"a,b\n1,2\n3\n"), "facts/day=2/b.csv": "a,b\n5,6\n"})
    (disk / "rights").mkdir()
    pq.write_table(TABLE, disk / "rights" / "x.parquet")
    _deliver(disk, bucket)
    found = []
    for place in (str(disk), bucket.uri):
        tables = {"facts": {"path": f"{place}/facts"}, "rights": {"path": f"{place}/rights", "format": "parquet"}}
        night = a_night(
            tmp_path / "lake", spark, source={"path": "none", "tables": tables}, clean={"max_quarantined_share": 1.0}
        )
        refused = refused_lines(night, ["facts", "rights"])
        rows = {name: sorted(map(str, _own(night, name))) for name in tables}
        found.append((rows, list(map(str, refused))))
        before = own_table_signatures(night)
        for content in (b"a,b\n5,7\n", b"a,b\n5,6\n"):
            (disk / "facts/day=2/b.csv").write_bytes(content)
            bucket.put("facts/day=2/b.csv", content)
            if content.endswith(b"7\n"):
                assert own_table_signatures(night)["source.tables.facts"] != before["source.tables.facts"]
                assert own_table_signatures(night)["source.tables.rights"] == before["source.tables.rights"]
                assert "Row(a='5', b='7', day='2')" in map(str, _own(night, "facts"))
    assert found[0] == found[1]
    assert found[1][1][0].endswith("the first is day=1/a.csv.gz:3)")


def _own(night: Night, name: str) -> list[Any]:
    return read_own_table(night.spark, name, night.settings.source.tables[name], night.run.lake).collect()


def test_the_rules_which_files_are_read_are_those_of_a_disk(tmp_path: Path, bucket: Store) -> None:
    names = ["a.csv", "b.csv", "c.txt", ".hidden.csv", "a.csv~", "b.csv.tmp", "sub/d.csv", "sub/deep/e.csv", "_x/f.csv"]
    disk = tmp_path / "in"
    _write(disk, {**dict.fromkeys([*names, "export[12]/x.csv", "export1/x.csv"], CSV), "sub/empty": ""})
    _deliver(disk, bucket)
    for pattern in (
        *("", "/*.csv", "/**/*.csv", "/**", "/*", "/sub", "/*/x.csv", "/export[12]/x.csv", "/[ab].csv", "/?.txt"),
        *("/a.csv", "/**/deep/*", "/_*/*"),
    ):
        found = []
        for place in (str(disk), bucket.uri):
            try:
                files = find_files(f"{place}{pattern}", "", tmp_path / "lake")
                found.append([[files.name(file) for file in files.files], dict(files.skipped), files.bytes])
            except InputError as error:
                found.append(str(error).replace(place, ""))
        assert found[0] == found[1], pattern
    for name, log in (("Delta", "_delta_log/0.json"), ("Hudi", ".hoodie/x"), ("Iceberg", "metadata/v1.metadata.json")):
        bucket.put(f"{name}/in/{log}", b"{}")
        bucket.put(f"{name}/in/a.parquet", b"PAR1")
        with pytest.raises(InputError, match=f"^{bucket.uri}/{name}/in: the table is in the format {name}, "):
            find_files(f"{bucket.uri}/{name}", "", tmp_path)
    assert not (tmp_path / "lake").exists(), "a list reads nothing"


class _Nights:
    """Nights of one lake, each as on another machine, which has no copy of an object."""

    def __init__(self, spark: Any, folder: Path, bucket: Store) -> None:
        self.spark, self.folder, self.bucket = spark, folder, bucket
        self.source = {"path": f"{bucket.uri}/in", "format": "table", "movies": f"{bucket.uri}/m.csv"}

    def movies(self, *ids: int) -> None:
        lines = "".join(f"{i},T,Drama\n" for i in ids)
        self.bucket.put("m.csv", f"movie_id,title,genres\n{lines}".encode())

    def night(self, day: int, fetched: set[str], said: str) -> Night:
        """Also checks what was fetched, and what the line says."""
        lake = self.folder / "lake"
        shutil.rmtree(lake / "sources", ignore_errors=True)
        found, line = _clean(self.spark, lake, self.source, day)
        assert said in line
        assert _copied(lake) == fetched
        return found

    def assert_full(self, found: Night, day: int) -> None:
        """The night equals one that reads all files."""
        full, _ = _clean(self.spark, self.folder / "full", self.source, day, incremental=False)
        for table in CLEAN:
            one, other = found.run.manifest(table), full.run.manifest(table)
            assert one.content == other.content is not None, table
        details = [each.run.manifest("ratings").details for each in (found, full)]
        for key in ("accounts", "source_files", "reading"):
            assert details[0][key] == details[1][key]


@pytest.fixture
def nights(spark: Any, tmp_path: Path, bucket: Store) -> _Nights:
    """One night over two files of ratings and a movie table."""
    nights = _Nights(spark, tmp_path, bucket)
    nights.movies(1, 2)
    bucket.put("in/a.csv", _lines((1, 1, 4.0), (1, 2, 7.0), (2, 7, 4.0)).encode())
    bucket.put("in/b.csv", _lines((1, 2, 4.0)).encode())
    nights.night(1, {"a.csv", "b.csv", "m.csv"}, "6 lines = 2 kept")
    return nights


@pytest.mark.extended
def test_an_incremental_night_fetches_new_files_only(nights: _Nights) -> None:
    nights.bucket.put("in/c.csv", _lines((3, 1, 4.0), (1, 1, 5.0)).encode())
    said = "; 1 of 3 files are new (2 lines), the others as on 2026-01-01"
    nights.assert_full(nights.night(2, {"c.csv", "m.csv"}, said), 2)

    # A new file that does not fit the others is named by its URI.
    uri = nights.source["path"]
    nights.bucket.put("in/d.csv", b"user_id,movie_id,rating\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        nights.night(3, set(), "")
    assert str(caught.value) == (
        f"{uri}/d.csv:1: the header differs from that of {uri}/a.csv; the files of a table share one"
    )
    nights.bucket.put("in/d.csv", b"PAR1 and no Parquet")
    with pytest.raises(InputError, match=rf"^{uri}: d\.csv is Parquet and a\.csv is text; "):
        nights.night(3, set(), "")
    nights.bucket.put("in/d.csv.gz", gzip.compress(_lines((1, 2, 4.0)).encode() * 9)[:-20])
    nights.bucket.remove(["in/d.csv"])
    with pytest.raises(InputError, match=rf"^{uri}/d\.csv\.gz: "):
        nights.night(3, set(), "")


@pytest.mark.extended
def test_an_incremental_night_that_needs_known_files_fetches_them(nights: _Nights) -> None:
    # Of known files, the smallest shows the layout.
    nights.assert_full(nights.night(2, {"b.csv", "m.csv"}, "; 0 of 2 files are new"), 2)
    nights.movies(1, 2, 7)
    said = "all files are cleaned, because 1 movies are new, and 1 ratings of 2026-01-02 were refused for their movie"
    nights.assert_full(nights.night(3, {"a.csv", "b.csv", "m.csv"}, said), 3)
    nights.bucket.put("in/b.csv", _lines((1, 2, 4.5)).encode())
    said = "all files are cleaned, because b.csv has changed since 2026-01-03"
    nights.assert_full(nights.night(4, {"a.csv", "b.csv", "m.csv"}, said), 4)
    nights.bucket.put("in/c.csv", f"{HEADER}\n4,1,3.0,2020-09-13\n".encode())
    nights.assert_full(nights.night(5, {"a.csv", "b.csv", "c.csv", "m.csv"}, "timestamp_not_a_time"), 5)


def test_an_object_that_changes_is_fetched_again_and_never_a_mixture(tmp_path: Path, bucket: Store) -> None:
    bucket.put("in/a.csv", CSV.encode())
    bucket.put("in/b.csv", CSV.encode())
    files = find_files(f"{bucket.uri}/in", "", tmp_path).fetch()
    kept, inode = files.root / "a.csv", (files.root / "a.csv").stat().st_ino
    other = CSV.replace("4.0", "0.5").encode()  # of the same size
    bucket.put("in/b.csv", other)
    listed = find_files(f"{bucket.uri}/in", "", tmp_path)
    assert listed.signature != files.signature
    bucket.put("in/b.csv", CSV.encode().replace(b"4.0", b"1.5"))
    with pytest.raises(InputError) as caught:
        listed.fetch()
    told = f"{bucket.uri}/in/b.csv: the object changed after it was listed; run the command again"
    assert str(caught.value) == told
    assert _copied(tmp_path) == {"a.csv"}
    bucket.put("in/b.csv", other)
    listed.fetch()
    assert (files.root / "b.csv").read_bytes() == other
    assert kept.stat().st_ino == inode
    bucket.put("in/sub/c.csv", other)
    bucket.remove(["in/b.csv"])
    (listed.root / "b.csv").unlink()
    with pytest.raises(InputError, match=r"b\.csv: the object changed after it was listed"):
        listed.fetch()
    find_files(f"{bucket.uri}/in", "", tmp_path).fetch()
    assert _copied(tmp_path) == {"a.csv", "sub/c.csv"}
    bucket.remove(["in/sub/c.csv"])
    find_files(f"{bucket.uri}/in", "", tmp_path).fetch()
    assert [path.name for path in files.root.iterdir()] == ["a.csv"]


_KILLED = """
import os, signal, sys
from itertools import count
from pathlib import Path
from kgspark.spark.cleaning.source.files import find_files
from kgspark.stores.store import Store

download, number = Store.download, count()

def killed(self, key, path, expected):
    download(self, key, path, expected)
    if next(number) == 12:  # of the eight at a time, some are complete
        os.truncate(path, 1000)
        os.kill(os.getpid(), signal.SIGKILL)

Store.download = killed
find_files(sys.argv[1], "", Path(sys.argv[2])).fetch()
"""


def test_a_fetch_that_is_killed_is_continued(tmp_path: Path, bucket: Store) -> None:
    content = os.urandom(100_000)
    names = [f"{number:02}.csv" for number in range(24)]
    for name in names:
        bucket.put(f"in/{name}", name.encode() + content)
    done = subprocess.run([sys.executable, "-c", _KILLED, f"{bucket.uri}/in", tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = (tmp_path / "sources").iterdir()
    assert list((folder / ".partial").iterdir())
    known = [json.loads(line)[0] for line in (folder / "objects.jsonl").read_text().splitlines()]
    before = {name: (folder / "files" / name).stat().st_ino for name in known}
    assert 0 < len(known) < len(names)
    with (folder / "objects.jsonl").open("a") as log:
        log.write('["23.csv", "a line that was cut o')
    files = find_files(f"{bucket.uri}/in", "", tmp_path).fetch()
    assert _copied(tmp_path) == set(names)
    assert all(file.read_bytes() == file.name.encode() + content for file in files.files)
    assert {name: (folder / "files" / name).stat().st_ino for name in before} == before


def _problem(text: str, lake: Path, **others: object) -> str:
    settings = SourceSettings.model_validate({"path": text, "format": "table", **others})
    with pytest.raises(KgsparkError) as caught:
        read_layouts(settings, find_tables(settings, lake=lake))
    problem = str(caught.value)
    assert problem.isprintable(), problem
    assert len(problem) < 600
    return problem


def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, s3: S3, bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket.uri
    bucket.put("empty/a.csv", b"")
    bucket.put("hidden/_a.csv", CSV.encode())
    bucket.put("both/a", CSV.encode())
    bucket.put("both/a/b", CSV.encode())
    bucket.put("in/a.csv", CSV.encode())
    advice = "no such file or folder; set source.path to a MovieLens folder or a ratings table"
    assert _problem(f"{uri}/none", tmp_path) == f"{uri}/none: {advice}"
    assert _problem(f"{uri}/in/*.parquet", tmp_path) == f"{uri}/in/*.parquet: {advice}"
    assert _problem(f"{uri}/empty", tmp_path) == f"{uri}/empty: the file is empty; expected at least one line of data"
    assert _problem(f"{uri}/hidden", tmp_path) == f"{uri}/hidden: the folder holds no file; skipped 1 file (1 hidden)"
    assert _problem(f"{uri}/hidden/_a.csv", tmp_path).endswith(
        "_a.csv: by its name, this file is hidden; rename it if it holds the data"
    )
    assert _problem(f"{uri}/both", tmp_path).startswith(f"{uri}/both/a: an object and a folder have this name; ")
    assert _problem(f"{uri}/in", tmp_path, format="auto").startswith(f"{uri}/in: holds none of ratings.csv, ")
    assert (
        _problem(f"{uri}/in", tmp_path, format="ml-1m") == f"{uri}/in/ratings.dat: no such file; format ml-1m needs it"
    )
    assert _problem("s3://nobody/in", tmp_path).startswith("s3://nobody/in: no such bucket or container; ")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint.replace("127.0.0.1", "localhost"))  # a new client
    told = _problem(f"{uri}/in", tmp_path)
    assert told.startswith(f"{uri}/in: the store refuses this; ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert _problem(f"{uri}/in", tmp_path).startswith(f"{uri}/in: the store does not answer; ")
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert _problem(f"{uri}/in", tmp_path).startswith(f"s3://{s3.bucket}: object stores need the package obstore; ")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://key:open-Sesame@bucket/in", "a user or password may not stand in s3://key:***@bucket/in; "),
        ("http://host/in.csv", "http:// is not known; expected a path, or one of s3://, gs:// and abfss://"),
    ],
)
def test_a_uri_that_cannot_be_read_is_an_error_of_the_configuration(uri: str, told: str, tmp_path: Path) -> None:
    for source in ({"path": uri}, {"path": "x", "movies": uri}, {"path": "x", "tables": {"t": {"path": uri}}}):
        with pytest.raises(ConfigError) as caught:
            load(NightSettings, configuration(tmp_path, source=source))
        problem = str(caught.value)
        assert told in problem
        assert "Sesame" not in problem
        assert "\n" not in problem
