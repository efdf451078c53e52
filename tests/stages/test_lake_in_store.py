"""A night whose lake is in an object store: the bytes of a night on a disk, on any machine, by the same commands."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.cli import main
from kgspark.config import from_environment
from kgspark.manifests import Manifest
from kgspark.night.night import Night
from kgspark.runs import Run
from kgspark.stages import nightly
from kgspark.stores.copies import open_lake, usual_folder
from kgspark.stores.store import Store
from nights import DATE, a_small_night, configuration, small_sections, table_contents
from s3_server import S3
from worlds.stored_lakes import keys_of

pytestmark = pytest.mark.slow

SHOWN = ["user_id", "rank", "movie_id", "score", "source"]


def tables_of(run: Run) -> dict[str, Manifest]:
    """The manifest of each table, without what differs between any two runs: times and measurements."""
    found = {path.name: Manifest.read(path) for path in run.folder.iterdir()}
    return {
        name: replace(manifest, version="", etags={}, written="", details={})
        for name, manifest in found.items()
        if manifest is not None
    }


def run_here(night: Night) -> None:
    """As the command does it, in the tests' session."""
    open_lake(night.settings.lake, night.settings.store)
    with night.run.locked():
        nightly.run(night)


def test_a_night_in_a_store(
    spark: Any, small_night: Path, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    uri, source = s3.new_uri(), small_night / "source"
    run_here(a_small_night(source, uri, spark))
    there, local = Run(usual_folder(uri), DATE), Run(small_night / "lake", DATE)
    check_same_bytes(there, local, uri)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))  # another machine
    conf = configuration(tmp_path, lake=uri, **small_sections(source))
    stored = sum(each.bytes for each in Store(uri).objects("runs"))
    before = keys_of(uri)
    assert main(["nightly", str(conf), "run_date=latest"]) == 0
    assert "6 of 6 stages were up to date" in capsys.readouterr().out
    fetched = {path.parent.name: path.stat().st_size for path in usual_folder(uri).rglob("part-*")}
    assert sum(fetched.values()) < stored / 4
    assert {"recommendations", "movies"} <= fetched.keys()
    assert fetched.keys() <= {"recommendations", "movies", "quarantine"}
    assert keys_of(uri) == before

    assert main(["report", str(conf), "run_date=latest"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{uri}/runs/{DATE}/report.html"]
    page = Store(uri).read(f"runs/{DATE}/report.html")
    assert page is not None
    assert page[0].startswith(b"<!doctype html>")
    assert main(["nights", str(conf), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["lake"] == uri
    assert [(night["date"], night["state"], night["published"]) for night in answer["nights"]] == [
        (DATE, "complete", "latest")
    ]
    assert main(["rollback", str(conf), DATE, "files"]) == 0
    assert f"_latest.json names {DATE}-" in capsys.readouterr().out
    assert main(["rollback", str(conf), "2026-01-01"]) == 66
    assert f"files: 2026-01-01 is not published here; published: {DATE}" in capsys.readouterr().err
    assert s3.secret_key not in "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )


def check_same_bytes(there: Run, local: Run, uri: str) -> None:
    """Names, sizes and SHA-256 of all files of all tables, what is published, and the objects themselves."""
    tables = tables_of(local)
    assert tables_of(there) == tables
    assert len(tables) >= 13
    store = Store(uri)
    for name, manifest in tables.items():
        prefix = there.copy.key_of(there.place(name))
        assert {file.name: file.sha256 for file in manifest.files} == {
            each.key.rpartition("/")[2]: store.sha256(each.key) for each in store.objects(prefix)
        }
    latest = store.read("warehouse/_latest.json")[0]
    assert latest == (local.lake / "warehouse" / "_latest.json").read_bytes()
    for table in json.loads(latest)["tables"].values():
        for file in table["files"]:
            assert store.sha256(f"warehouse/{table['path']}/{file['name']}") == file["sha256"]


CASES = {
    "no bucket": ("s3://none/lake", {}, "s3://none/lake/manifests: no such bucket or container; make it, or correct"),
    "wrong key": ("s3://lake/x", {"AWS_SECRET_ACCESS_KEY": "another-Sesame-45"}, "the store refuses this; set AWS_ACC"),
    "a scheme": ("hdfs://node/lake", {}, "lake: hdfs:// is not known; expected a path, or one of s3://, "),
    "a secret": ("s3://key:Sesame-46@lake/x", {}, "a user or password may not stand in s3://key:***@lake/x; set the"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_store_that_cannot_be_used_is_one_line(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    uri, variables, problem = CASES[case]
    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KGSPARK_TRACE", str(tmp_path / "trace"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    conf = configuration(tmp_path, source={"path": str(tmp_path)})
    assert main(["nightly", str(conf), f"lake={uri}"]) in (2, 69)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kgspark: error: ")
    assert problem in line
    assert len(line) < 450
    told = line + ((tmp_path / "trace").read_text() if (tmp_path / "trace").exists() else "")
    assert "Sesame" not in told
    shutil.rmtree(tmp_path)


@pytest.mark.extended
def test_source_lake_and_all_targets_in_a_store(
    spark: Any, small_night: Path, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a night on a disk, wherever a reader finds them."""
    import polars
    from pyiceberg.catalog import load_catalog

    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri, namespace = s3.new_uri(), "everything"
    for file in (small_night / "source").iterdir():
        Store(f"{uri}/logs").upload(file, file.name)
    targets = {
        "targets": ["files", "delta", "iceberg"],
        "iceberg": {"catalog": s3.iceberg_catalog, "namespace": namespace},
        "beat_popularity": False,
    }
    run_here(
        a_small_night(small_night / "source", f"{uri}/lake", spark, source={"path": f"{uri}/logs"}, publish=targets)
    )

    copy = usual_folder(f"{uri}/lake")
    assert table_contents(copy) == table_contents(small_night / "lake")
    rows = pq.read_table(small_night / "lake" / "warehouse" / "recommendations" / f"ds={DATE}", partitioning=None)
    expected = sorted(map(str, rows.select(SHOWN).to_pylist()))
    latest = json.loads(Store(f"{uri}/lake").read("warehouse/_latest.json")[0])["tables"]["recommendations"]
    read = [
        f"{s3.bucket}/{uri.rpartition('/')[2]}/lake/warehouse/{latest['path']}/{f['name']}" for f in latest["files"]
    ]
    by_pointer = pq.read_table(read, filesystem=s3.file_system(), partitioning=None)
    catalog = load_catalog("test", **from_environment("test", s3.iceberg_catalog), **{"s3.endpoint": s3.endpoint})
    found = {
        "files": by_pointer,
        "delta": polars.scan_delta(f"{uri}/lake/delta/recommendations").collect().to_arrow(),
        "iceberg": catalog.load_table(f"{namespace}.recommendations").scan().to_arrow(),
    }
    assert {name: sorted(map(str, table.select(SHOWN).to_pylist())) for name, table in found.items()} == dict.fromkeys(
        found, expected
    )
