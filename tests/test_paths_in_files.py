"""Paths in a configuration file are relative to it; those of the command line and of defaults to the working folder."""

from pathlib import Path

import pytest

from kgspark import config
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder beside the working folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Path("../conf/own.yaml")


def load(conf: Path, text: str, *overrides: str) -> NightSettings:
    conf.write_text(text, encoding="utf-8")
    return config.load(NightSettings, conf, overrides)


def test_every_path_of_a_file_is_relative_to_it(conf: Path) -> None:
    text = """
        lake: lakes/one
        source: {path: ratings, format: table, movies: films.csv, tables: {facts: {path: ../facts.csv}}}
        evaluate: {protocol: files, train: a.txt, test: b.txt, sequences: c.txt}
        publish: {delta: {path: delta}}
        contract: {out: there}
    """
    settings = load(conf, text)
    assert settings.lake == Path("../conf/lakes/one")
    assert (settings.source.path, settings.source.movies.path) == ("../conf/ratings", "../conf/films.csv")
    assert settings.source.tables["facts"].path == "../facts.csv"
    evaluate = settings.evaluate
    assert [str(path) for path in (evaluate.train, evaluate.test, evaluate.sequences)] == [
        "../conf/a.txt", "../conf/b.txt", "../conf/c.txt"
    ]  # fmt: skip
    assert (settings.publish.delta.path, settings.contract.out) == ("../conf/delta", Path("../conf/there"))


def test_the_long_form_of_a_movie_table_and_a_pattern(conf: Path) -> None:
    settings = load(conf, "source: {path: 'in/*.csv', format: table, movies: {path: films}}")
    assert (settings.source.path, settings.source.movies.path) == ("../conf/in/*.csv", "../conf/films")


def test_absolute_paths_and_uris_stay(conf: Path) -> None:
    text = "lake: s3://bucket/lake\nsource: {path: /data, format: table, movies: 's3://shop/films'}"
    settings = load(conf, text)
    assert (settings.store, settings.source.path, settings.source.movies.path) == (
        "s3://bucket/lake", "/data", "s3://shop/films"
    )  # fmt: skip
    assert load(conf, "source: {path: 'file:///data', format: table}").source.path == "file:///data"


def test_defaults_and_the_command_line_are_relative_to_the_working_folder(conf: Path) -> None:
    settings = load(conf, "lake: one\nsource: {path: a}", "lake=two", "source.path=b", "source.tables.t.path=c")
    assert (settings.lake, settings.source.path, settings.source.tables["t"].path) == (Path("two"), "b", "c")
    settings = load(conf, "source: {path: a}")
    assert (settings.lake, settings.contract.out) == (Path("lake"), Path("contract"))


def test_a_file_in_the_working_folder_changes_no_path(conf: Path) -> None:
    here = Path("own.yaml")
    assert load(here, "lake: ./one/\nsource: {path: ../a/*}").source.path == "../a/*"


def test_a_value_that_two_keys_share_is_moved_once(conf: Path) -> None:
    settings = load(conf, "source:\n  path: a\n  format: table\n  tables: {x: &t {path: b}, y: *t}")
    assert {table.path for table in settings.source.tables.values()} == {"../conf/b"}


def test_wrong_values_keep_their_error(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.tables: expected a section"):
        load(conf, "source: {path: a, tables: 3}")
