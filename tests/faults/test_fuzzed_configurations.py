"""Configurations with random damage: each is loaded, or refused in one line that names its place."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.scale import trials
from kgspark import config
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings
from nights import ROOT

DEFAULTS = yaml.safe_load((ROOT / "conf" / "nightly.yaml").read_text(encoding="utf-8"))
JUNK = (
    *(None, True, -1, 0, 1e308, float("nan"), float("inf"), 2**70, "", " ", "\x00", "é\u202e", "a" * 5000, "../../x"),
    *("${HOME}", "9999-99-99", "1; DROP TABLE ratings", [], [[]], [1, "a"], {}, {"": 1}, {"a": {"b": {"c": [None]}}}),
)


def replace_value(rng: random.Random, section: dict[Any, Any], key: Any) -> None:
    section[key] = rng.choice(JUNK)


def remove_key(rng: random.Random, section: dict[Any, Any], key: Any) -> None:
    del section[key]


def rename_key(rng: random.Random, section: dict[Any, Any], key: Any) -> None:
    section[rng.choice((str(key)[::-1], f" {key}", str(key).upper(), "", 7, None))] = section.pop(key)


def move_value(rng: random.Random, section: dict[Any, Any], key: Any) -> None:
    section[rng.choice(list(section))] = section[key]


def nest_value(rng: random.Random, section: dict[Any, Any], key: Any) -> None:
    for _ in range(rng.choice((1, 3, 300))):
        section[key] = {key: section[key]}


DAMAGES: tuple[Callable[[random.Random, dict[Any, Any], Any], None], ...] = (
    replace_value, remove_key, rename_key, move_value, nest_value,
)  # fmt: skip


def damaged(rng: random.Random) -> dict[str, Any]:
    """The default configuration with one to three random damages."""
    document = yaml.safe_load(yaml.safe_dump(DEFAULTS))
    for _ in range(rng.randint(1, 3)):
        section = document
        while (below := [v for v in section.values() if isinstance(v, dict) and v]) and rng.random() < 0.7:
            section = rng.choice(below)
        rng.choice(DAMAGES)(rng, section, rng.choice(list(section)))
        if not document:
            break
    return document


def cut(rng: random.Random, text: str) -> bytes:
    """Text that was cut, or that has a few other bytes, as a file on a broken disk may have."""
    content = bytearray(text.encode())
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    elif rng.random() < 0.3:
        for _ in range(rng.randint(1, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def refusal(path: Path) -> str | None:
    """The message about a configuration, or None if it is loaded. Any other exception than a ConfigError is a fault."""
    try:
        config.load(NightSettings, path)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.faults
def test_every_configuration_is_loaded_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, path, messages = random.Random(21), tmp_path / "night.yaml", []
    for _ in range(trials(50, 1000)):
        path.write_bytes(cut(rng, yaml.safe_dump(damaged(rng), allow_unicode=True)))
        messages.append(refusal(path))
    refused = [message for message in messages if message is not None]
    assert len(refused) > 0.5 * len(messages)
    for message in refused:
        assert message.startswith(f"{path}:")
        assert len(message) < 2_000
