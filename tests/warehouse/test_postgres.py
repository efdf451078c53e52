"""The target `postgres`: what PostgreSQL alone has, and secrets that stay out of everything that is written."""

import json
import re
from pathlib import Path

import pytest

from kgspark import config
from kgspark.errors import ConfigError, StageError
from kgspark.names import OURS, Names
from kgspark.published_schemas import described
from kgspark.redaction import redact
from kgspark.runs import Run
from kgspark.tables import DESCRIBED, RANKED, RECOMMENDATIONS
from kgspark.warehouse.postgres import PostgresSettings, PostgresTarget
from postgres import Postgres
from worlds.published import rank
from worlds.stores import PostgreSql


@pytest.fixture
def store(postgres: Postgres, tmp_path: Path) -> PostgreSql:
    return PostgreSql(tmp_path, postgres)


def test_tables_have_keys_and_comments_and_a_view_of_the_newest_date(store: PostgreSql, tmp_path: Path) -> None:
    runs = [rank(Run(tmp_path / "lake", f"2026-02-0{day}"), f"model {day}") for day in (1, 2)]
    for run in reversed(runs):
        store.target.publish(run, RANKED)
    for table in RANKED:
        newest = store.rows(f"{table}_latest")
        assert {(row["ds"], row["model_id"]) for row in newest} == {("2026-02-02", "model 2")}
        [(key, comment)] = store.server.execute(f"""
            SELECT pg_get_constraintdef(oid), obj_description(conrelid) FROM pg_constraint
            WHERE conrelid = '"{store.schema}".{table}'::regclass AND contype = 'p'""")
        assert key == "PRIMARY KEY (ds, user_id, rank)"
        assert comment == f"Written by kgspark. One partition per date; the newest date is in the view {table}_latest."
    assert store.target.roll_back(runs[0]) == "removed 2026-02-02"
    assert {row["ds"] for row in store.rows(f"{RECOMMENDATIONS}_latest")} == {"2026-02-01"}
    plan = "\n".join(line for (line,) in store.server.execute(f'EXPLAIN SELECT * FROM "{store.schema}".audiences'))
    assert "2026_02_01" in plan
    assert "2026_02_02" not in plan


def test_comments_say_what_tables_and_columns_hold(store: PostgreSql, tmp_path: Path) -> None:
    """They are those of the newest publication, also in a table that had none."""

    def comments(name: str) -> dict[str, str | None]:
        found = store.server.execute(f"""
            SELECT attname, col_description(attrelid, attnum), obj_description(attrelid) FROM pg_attribute
            WHERE attrelid = '"{store.schema}".{name}'::regclass AND attnum > 0""")
        return {"": found[0][2], **{column: comment for column, comment, _ in found}}

    run = rank(Run(tmp_path / "lake", "2026-02-01"), "one")
    store.target.publish(run, RANKED)
    assert set(comments(RECOMMENDATIONS).values()) == {comments(RECOMMENDATIONS)[""], None}
    for model, names in (("two", OURS), ("three", Names(user="customer", user_id="user_id"))):
        told = described(RECOMMENDATIONS, "bigint", names)
        written = {column: told["columns"][column] for column in ("user_id", "rank", "movie_id", "model_id", "ds")}
        rank(run, model, details={DESCRIBED: {**told, "columns": written}})
        store.target.publish(run, RANKED)
    for name in (RECOMMENDATIONS, f"{RECOMMENDATIONS}_latest"):
        found = comments(name)
        assert found[""].startswith("for each customer, the best movies that the customer has not rated or seen. ")
        assert found["user_id"] == "id of the customer, as in the source"
        assert found["rank"] == "place in the list, from 1"
        assert found["ds"] == "date of the night, YYYY-MM-DD; the partition"


def test_all_tables_change_at_one_moment(store: PostgreSql, tmp_path: Path) -> None:
    """A transaction that began before the publication sees the earlier model in all tables until its end."""
    run = rank(Run(tmp_path / "lake", "2026-02-01"), "one")
    store.target.publish(run, RANKED)
    rank(run, "two")
    models = [f'SELECT DISTINCT model_id FROM "{store.schema}".{table}_latest' for table in RANKED]
    with store.target._session(locked=False) as (_, cursor):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(models[0])
        first = cursor.fetchall()
        store.target.publish(run, RANKED)
        for query in models[1:]:
            cursor.execute(query)
            assert first == cursor.fetchall() == [("one",)]
    assert [store.server.execute(query) for query in models] == [[("two",)]] * len(RANKED)


def test_a_server_that_refuses_is_one_line_without_the_password(store: PostgreSql, tmp_path: Path) -> None:
    run = rank(Run(tmp_path / "lake", "2026-02-01"), "one")
    told = json.dumps(store.target.publish(run, RANKED)) + store.target.place(run, RECOMMENDATIONS)
    assert "${ENV:OF_A_TEST}" in told
    assert store.server.password not in told
    assert redact(f"a line with {store.server.password}") == "a line with ***"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OF_A_TEST", "wrong")
        target = PostgresTarget(store.target._settings)
    with pytest.raises(StageError) as caught:
        target.publish(run, RANKED)
    assert re.match(r"PostgreSQL, schema .*: IO: .*password authentication failed", str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_password_in_the_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"uri: a password may not stand in a configuration; write \$\{ENV:NAME\}"):
        config.from_overrides(PostgresSettings, ["uri=postgresql://me:secret@host/shop"])
    for allowed in ("postgresql://me:${ENV:SECRET}@host/shop", "postgresql://me@host/shop", "${ENV:ADDRESS}"):
        assert config.from_overrides(PostgresSettings, [f"uri={allowed}"]).uri == allowed
