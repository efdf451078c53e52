"""The settings classes are the only source: the files generated from them equal the committed ones."""

import json
from pathlib import Path

import pytest

from kgspark.config import leaf_fields
from kgspark.night.settings import NightSettings
from kgspark.settings_docs.__main__ import FILES
from kgspark.settings_docs.keys import Key, night, own_values
from nights import ROOT

KEYS = {key.dotted: key for key in night().all_keys()}


@pytest.mark.parametrize("name", FILES)
def test_a_rendered_file_is_the_committed_one(name: str) -> None:
    assert FILES[name]() == (ROOT / name).read_text(encoding="utf-8"), f"{name} is old; run make docs"


def test_every_key_and_section_has_a_meaning() -> None:
    for section in night().sections():
        assert section.meaning, section.dotted
        for part in section.parts:
            assert part.meaning or (isinstance(part, Key) and part.entries), part.dotted
            if isinstance(part, Key) and part.entries:
                assert all(key.meaning for key in part.entries.all_keys()), part.dotted


def test_every_field_of_the_classes_is_a_key() -> None:
    assert list(KEYS) == [".".join(path) for path, _ in leaf_fields(NightSettings)]


@pytest.mark.parametrize(
    ("key", "type_in_words", "default"),
    [
        ("train.dim", "integer ≥ 1, or null", None),
        ("train.model", "transe, distmult, complex, rotate, rescal or simple", "transe"),
        ("train.negatives", "auto or integer ≥ 0, or null", None),
        ("train.ema", "number ≥ 0, < 1", 0.0),
        ("evaluate.ks", "list, each: integer > 0", [10, 20, 100]),
        ("evaluate.history", "list of 2, each: integer > 0", [10, 100]),
        ("evaluate.peers.mllib_als.alpha", "number > 0", 10.0),
        ("source.path", "text", ...),
        ("source.tables", "mapping of names to sections", {}),
        ("lake", "path", "lake"),
        ("audiences.enabled", "true or false", True),
    ],
)
def test_a_key_is_described_in_words(key: str, type_in_words: str, default: object) -> None:
    assert (KEYS[key].type, KEYS[key].default) == (type_in_words, default)


def test_a_key_that_is_null_tells_the_recipes_values() -> None:
    assert own_values(("train", "temperature"))["rotate"] == 14.0
    assert own_values(("train", "validation", "patience"))["complex"] == 16
    assert own_values(("train", "seed")) == own_values(("spark", "master")) == {}


def test_the_schema_lets_a_file_say_only_what_differs(tmp_path: Path) -> None:
    text = FILES["conf/kgspark.schema.json"]()
    schema = json.loads(text)
    assert '"required"' not in text
    assert schema["additionalProperties"] is False
    train = schema["$defs"]["TrainSection"]["properties"]
    assert train["model"]["enum"][:2] == ["transe", "distmult"]
    assert {"type": "null"} in train["dim"]["anyOf"]
    assert {"type": "null"} in schema["properties"]["relations"]["additionalProperties"]["anyOf"]
