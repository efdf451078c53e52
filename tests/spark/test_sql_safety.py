"""SQL of a configuration reaches declared tables and functions on values, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import ConfigError
from kgspark.spark.sql_safety import tables_in_sql

TABLES = ["movies", "French"]

GOOD = [
    "rating >= 4.0 AND NOT (year IS NULL) OR title LIKE 'a(%' OR year BETWEEN (1) AND 2",
    "array_contains(genres, 'Drama') AND cast(share AS double) > 0.5",
    "CASE WHEN (a > 1) THEN upper(b) ELSE coalesce(c, 'x') END",
    "exists(genres, g -> g = 'Drama') AND (transform(genres, x -> lower(x)))[0] = 'a'",
    "movie_id IN (SELECT movie_id FROM french WHERE country = 'fr')",
    "movie_id NOT IN (SELECT f.movie_id FROM french f JOIN movies AS m ON f.movie_id = m.movie_id "
    "GROUP BY f.movie_id HAVING count(*) > 1 ORDER BY 1 LIMIT 3)",
    "(SELECT max(year) FROM movies) > year AND EXISTS (SELECT 1 FROM French WHERE french.movie_id = movie_id)",
    "movie_id IN (SELECT movie_id FROM french INTERSECT SELECT movie_id FROM movies UNION ALL VALUES (1), (2))",
    "movie_id IN (SELECT DISTINCT x.* FROM (SELECT movie_id FROM french) AS x)",
    "date_diff(current_date(), timestamp_seconds(timestamp)) < 30",
    "movie_id IN (1, 2, 3) AND (rating * 2) % 3 = pmod(user_id, 5) AND element_at(genres, 1) RLIKE '^A'",
]


@pytest.mark.parametrize("text", GOOD)
def test_conditions_over_values_and_declared_tables_pass(spark: Any, text: str) -> None:
    tables_in_sql(spark, "key", text, TABLES)


def test_the_tables_of_subqueries_are_known_by_their_declared_names(spark: Any) -> None:
    text = "a IN (SELECT b FROM FRENCH WHERE c = (SELECT max(d) FROM movies)) AND e IN (SELECT f FROM french)"
    assert tables_in_sql(spark, "key", text, TABLES) == ["French", "movies"]
    assert tables_in_sql(spark, "key", "rating > 4", TABLES) == []


def attacks(secret: Path, made: Path) -> dict[str, str]:
    """SQL that reads the file `secret`, makes the file `made`, or reads the environment; with a part of its refusal."""
    exec_touch = f"java_method('java.nio.file.Files', 'writeString', '{made}', 'x')"
    return {
        "java_method('java.lang.System', 'setProperty', 'kgspark.attacked', 'x')": "java_method",
        exec_touch: "java_method",
        "REFLECT('java.lang.System', 'getenv', 'HOME')": "reflect",
        "try_reflect('java.lang.System', 'getenv', 'HOME')": "try_reflect",
        "builtin.java_method('java.lang.System', 'getenv', 'HOME')": "builtin.java_method",
        "`java_method`('java.lang.System', 'getenv', 'HOME')": "java_method",
        "upper(lower(java_method('java.lang.System', 'getenv', 'HOME')))": "java_method",
        "transform(array(1), x -> java_method('java.lang.System', 'getenv', 'HOME'))[0]": "java_method",
        "IDENTIFIER('java_' || 'method')('java.lang.System', 'getenv', 'HOME')": "identifier",
        "IDENTIFIER('java_method')('java.lang.System', 'getenv', 'HOME')": "java_method",
        f"(SELECT first(value) FROM text.`{secret}`)": "text.",
        f"title IN (SELECT _c0 FROM csv.`{secret}`)": "csv.",
        f"EXISTS (SELECT 1 FROM binaryFile.`{secret}`)": "binaryFile.",
        f"title IN (SELECT title FROM movies UNION SELECT value FROM text.`{secret}`)": "text.",
        f"title IN (SELECT title FROM movies WHERE year IN (SELECT value FROM text.`{secret}`))": "text.",
        f"title IN (WITH movies AS (SELECT * FROM text.`{secret}`) SELECT value FROM movies)": "CTE [movies]",
        f"title IN (SELECT * FROM IDENTIFIER('text.`{secret}`'))": "text.",
        f"title IN (SELECT * FROM movies, LATERAL (SELECT value FROM text.`{secret}`))": "LateralJoin",
        f"title IN (FROM text.`{secret}` |> SELECT value)": "text.",
        f"title IN (TABLE text.`{secret}`)": "text.",
        f"title IN (SELECT * FROM text.`{secret}` TABLESAMPLE (1 ROWS))": "text.",
        "title IN (SELECT id FROM range(10))": "range",
        "title IN (SELECT * FROM sql_keywords())": "sql_keywords",
        f"title IN (SELECT TRANSFORM(title) USING 'touch {made}' AS (a) FROM movies)": "ScriptTransformation",
        "title IN (SELECT title FROM other)": "other",
        "title IN (SELECT title FROM global_temp.movies)": "global_temp.movies",
        "title IN (SELECT title FROM default.movies)": "default.movies",
        "'${env:HOME}'": "${",
        "('${system:user.home}')": "${",
        "${spark.app.name}": "${",
        "input_file_name()": "input_file_name",
        "current_user()": "current_user",
        "no_such_function(title)": "no_such_function",
    }


NAMES = list(attacks(Path("SECRET"), Path("MADE")))


@pytest.mark.parametrize("name", NAMES)
def test_a_way_to_the_machine_is_refused_in_one_line(spark: Any, tmp_path: Path, name: str) -> None:
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("s3cret\n")
    text, says = list(attacks(secret, made).items())[NAMES.index(name)]
    with pytest.raises(ConfigError) as caught:
        tables_in_sql(spark, "relations.r.where", text, TABLES)
    message = str(caught.value)
    assert message.startswith("relations.r.where: ")
    assert says.casefold() in message.casefold()
    assert "\n" not in message
    assert not made.exists()


def test_without_the_check_spark_would_do_it(spark: Any, tmp_path: Path) -> None:
    """The attacks are real: this is what the check prevents."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    row = (
        spark.range(1)
        .selectExpr(
            "java_method('java.lang.System', 'getProperty', 'java.version') AS called",
            f"(SELECT first(value) FROM text.`{secret}`) AS read",
            "'${env:PATH}' AS environment",
        )
        .first()
    )
    assert row["called"].split(".")[0].isdigit()
    assert row["read"] == "s3cret"
    assert "/" in row["environment"]
