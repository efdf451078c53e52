"""`publish.targets` accepts exactly the names in the table of targets."""

import pytest

from kgspark import config
from kgspark.errors import ConfigError
from kgspark.warehouse import files
from kgspark.warehouse.settings import PublishSettings
from kgspark.warehouse.targets import TARGETS


def test_an_unknown_target_is_one_line_that_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "other", lambda settings, spark: files)
    expected = r"^command line: publish\.targets\.1: expected 'files', .* or 'other', found 'nowhere'$"
    with pytest.raises(ConfigError, match=expected):
        config.from_overrides(Publish, ["publish.targets=[files, nowhere]"])


def test_a_new_name_is_taken_and_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "other", lambda settings, spark: files)
    given = config.from_overrides(Publish, ["publish.targets=[other, files]"])
    assert given.publish.targets == ("other", "files")
    with pytest.raises(ConfigError, match=r"publish\.targets: expected a list of 1 or more"):
        config.from_overrides(Publish, ["publish.targets=[]"])


def test_hive_stands_after_files() -> None:
    given = config.from_overrides(Publish, ["publish.targets=[files, delta, hive]"])
    assert given.publish.targets == ("files", "delta", "hive")
    for wrong in ("hive", "hive, files"):
        with pytest.raises(ConfigError, match=r"publish\.targets: expected files before hive"):
            config.from_overrides(Publish, [f"publish.targets=[{wrong}]"])
    with pytest.raises(ConfigError, match=r"publish\.targets: expected each target once"):
        config.from_overrides(Publish, ["publish.targets=[files, files]"])


class Publish(config.Settings):
    """A configuration with only this section."""

    publish: PublishSettings
