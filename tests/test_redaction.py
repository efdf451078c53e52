"""Secrets in texts for people."""

import pytest

from kgspark import redaction
from kgspark.redaction import hide, is_secret, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jdbc:postgresql://bob:hunter2@db:5432/x: no such file", "jdbc:postgresql://bob:***@db:5432/x: no such file"),
        ("https://bob:p@ss:word@db/x", "https://bob:***@db/x"),
        ("jdbc:oracle:thin:scott/tiger@db:1521", "jdbc:oracle:thin:scott/***@db:1521"),
        ("jdbc:mysql://db/x?user=bob&password=hunter2&ssl=true", "jdbc:mysql://db/x?user=bob&password=***&ssl=true"),
        ("spark.hadoop.fs.s3a.secret.key=AbC/d+1=", "spark.hadoop.fs.s3a.secret.key=***"),
        ("fs.azure.account.key.store=AbC", "fs.azure.account.key.store=***"),
        ("{'sfPassword': 'a b', \"api_token\": \"x\"}", "{'sfPassword': ***, \"api_token\": ***}"),
        ("PWD = 'a b'; then", "PWD = ***; then"),
    ],
)
def test_passwords_and_their_like_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "command line: expected dotted.key=value, found 'x'",
        "/lake/runs/2026-01-02: no complete table here; run clean-ratings first",
        "conf/a.yaml:3:5: train.dim: expected an integer ≥ 1, found 'many'",
        "[PARSE_SYNTAX_ERROR] Syntax error at or near 'x': unexpected token: end",
        "http://db:8080/path@x",
        "12:30:01 WARN A: b",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_a_hidden_value_is_removed_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_values", set())
    hide("s3cr3t")
    hide("s3cr3t-and-longer")
    hide("abc")
    assert redact("x s3cr3t-and-longer, (s3cr3t) abc") == "x ***, (***) abc"


def test_keys_of_secrets_are_known_by_their_words() -> None:
    secrets = (
        "spark.ssl.keyPassword",
        "fs.s3a.access.key",
        "API_TOKEN",
        "spark.authenticate.secret",
        "a.key",
        "db.pwd",
    )
    assert all(map(is_secret, secrets))
    assert not any(map(is_secret, ("spark.sql.requireAllClusterKeysForCoPartition", "spark.master", "monkey.x")))
