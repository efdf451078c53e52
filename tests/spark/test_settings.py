"""Spark's settings: names with dots, and values from the environment that stay out of everything that is written."""

import pytest

from kgspark.errors import ConfigError
from kgspark.spark.settings import SessionSettings


def test_values_from_the_environment_are_looked_up_late(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SessionSettings(conf={"spark": {"a.password": "x${ENV:OF_A_TEST}y", "b": 3, "c": "${HOME}"}})
    monkeypatch.setenv("OF_A_TEST", "hunter2")
    assert settings.resolved_conf() == {"spark.a.password": "xhunter2y", "spark.b": 3, "spark.c": "${HOME}"}
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_a_variable_that_is_not_set_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OF_A_TEST", raising=False)
    settings = SessionSettings(conf={"spark.a.password": "${ENV:OF_A_TEST}"})
    with pytest.raises(ConfigError) as caught:
        settings.resolved_conf()
    assert str(caught.value) == "spark.conf.spark.a.password: the environment variable OF_A_TEST is not set"
