"""All SQL of a configuration is checked when a night first needs Spark, whatever stage that is."""

import typing
from pathlib import Path
from typing import Any

import pytest

from kgspark.config import Settings, sql_texts
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings
from nights import a_night

SEGMENT = {"users": "true", "movies": "true"}
READS = "title IN (SELECT value FROM text.`FILE`)"
# Each setting that is SQL, with an attack in it.
ATTACKED: dict[str, dict[str, Any]] = {
    "relations.liked.where": {"relations": {"liked": {"where": READS}}},
    "relations.liked.weight": {"relations": {"liked": {"weight": "java_method('java.lang.Runtime', 'exit', '1')"}}},
    "relations.r.head.column": {
        "relations": {"r": {"table": "movies", "head": {"kind": "a", "column": "'${env:HOME}'"}, "tail": "movie"}}
    },
    "relations.r.tail.column": {
        "relations": {
            "r": {
                "table": "movies",
                "head": "movie",
                "tail": {"kind": "a", "column": "(SELECT value FROM text.`FILE`)"},
            }
        }
    },
    "candidates.where": {"candidates": {"where": READS}},
    "candidates.segments.s.users": {"candidates": {"segments": {"s": SEGMENT | {"users": READS}}}},
    "candidates.segments.s.movies": {"candidates": {"segments": {"s": SEGMENT | {"movies": READS}}}},
}


def filled_in(value: Any, file: Path) -> Any:
    if isinstance(value, dict):
        return {key: filled_in(below, file) for key, below in value.items()}
    return value.replace("FILE", str(file))


@pytest.mark.parametrize("key", ATTACKED)
def test_sql_that_reaches_the_machine_ends_the_night_before_its_first_job(spark: Any, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    night = a_night(tmp_path, spark, source={"path": "x"}, **filled_in(ATTACKED[key], secret))
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            _ = night.spark
        assert str(caught.value).startswith(f"{key}: ")
        assert "\n" not in str(caught.value)


def test_only_candidates_may_query_tables(spark: Any, tmp_path: Path) -> None:
    query = "movie_id IN (SELECT movie_id FROM rights)"
    source = {"path": "x", "tables": {"rights": {"path": "y"}}}
    assert a_night(tmp_path, spark, source=source, candidates={"where": query}).spark is spark
    with pytest.raises(
        ConfigError, match=r"relations\.liked\.where: rights is no declared table; no subquery is allowed"
    ):
        _ = a_night(tmp_path, spark, source=source, relations={"liked": {"where": query}}).spark
    with pytest.raises(ConfigError, match=r"candidates\.where: .*PARSE_SYNTAX_ERROR"):
        _ = a_night(tmp_path, spark, source=source, candidates={"where": "upper(("}).spark


def settings_classes(of: type[Settings]) -> set[type[Settings]]:
    """A settings class and all classes of sections in it."""
    found = {of}
    waiting = [field.annotation for field in of.model_fields.values()]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            found |= settings_classes(annotation)
        waiting += typing.get_args(annotation)
    return found


def test_every_setting_that_is_described_as_sql_is_marked_as_sql() -> None:
    checked = []
    for section in settings_classes(NightSettings):
        for name, field in section.model_fields.items():
            if (field.description or "").startswith("SQL"):
                filled = section.model_construct(**dict.fromkeys(section.model_fields) | {name: "true"})
                assert [text for _, text, _ in sql_texts(filled)] == ["true"], f"{section.__name__}.{name}"
                checked.append(name)
    assert sorted(checked) == [
        *("add", "column", "event_rating", "movies", "multiply", "per", "users", "weight", "where", "where", "where"),
    ]
