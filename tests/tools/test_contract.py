"""The contract: valid by the standard's own schema, and true of the published tables."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pyarrow.parquet as pq
import pytest
import yaml

from kgspark.files import TableFiles
from kgspark.published_schemas import DS_TYPE
from kgspark.runs import Run, StageWork
from kgspark.search_space import Scoring
from kgspark.tables import USER_VECTORS, VECTORS
from kgspark.tools import contract
from nights import DATE, ROOT, a_night, a_small_night

DBT = ROOT / ".venv-dbt" / "bin" / "dbt"
OWN = {"no_negative": {"where": "movie_id < 0"}, "few": {"where": "rank > 9", "bound": 0.5}}


def _written(out: Path, night: Any) -> dict[str, Any]:
    """Both files, read back."""
    told = contract.run(night)
    found = {
        kind: yaml.safe_load((out / name).read_text())
        for kind, name in (("odcs", "kgspark.odcs.yaml"), ("dbt", "sources.yml"))
    }
    assert told == found
    return found


def _of(source: Path, lake: Path, out: Path, **sections: Any) -> dict[str, Any]:
    return _written(out, a_small_night(source, lake, contract={"out": str(out)}, **sections))


def _quality(found: dict[str, Any], table: int = 0) -> dict[str, dict[str, Any]]:
    """The rules of a table and of its columns, by name."""
    described = found["odcs"]["schema"][table]
    of_columns = [rule for column in described["properties"] for rule in column.get("quality", [])]
    return {rule["name"]: rule for rule in [*described["quality"], *of_columns]}


def test_a_configuration_alone_gives_a_valid_contract(tmp_path: Path) -> None:
    names = {"user": "customer", "movie": "sku", "movie_id": "sku"}
    given = {"out": str(tmp_path / "out"), "owner": "recs", "contact": "#recs", "domain": "shop", "max_age": 30}
    source = {"path": "nowhere", "ids": "string"}
    night = a_night(tmp_path / "lake", source=source, names=names, contract=given, keep={"published": 30})
    found = _written(tmp_path / "out", night)
    schema = json.loads((files("open_data_contract_standard") / "schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [problem.message for problem in validator.iter_errors(found["odcs"])] == []
    assert not validator.is_valid({**found["odcs"], "owner": "recs"}), "the schema refuses what it does not know"
    tables = {table["name"]: table for table in found["odcs"]["schema"]}
    keys = {name: [c["name"] for c in table["properties"] if c.get("primaryKey")] for name, table in tables.items()}
    assert keys == {"recommendations": ["customer_id", "rank", "ds"], "audiences": ["sku", "rank", "ds"]}
    assert {c["name"]: c["physicalType"] for c in tables["recommendations"]["properties"]} == {
        "customer_id": "string", "rank": "int", "sku": "string", "score": "float", "source": "string",
        "reason_sku": "string", "model_id": "string", "ds": "string",
    }  # fmt: skip
    assert "user" not in str(found)
    assert "movie" not in str(found)
    assert not (tmp_path / "lake").exists()
    (of_dbt,) = found["dbt"]["sources"]
    assert of_dbt["config"]["meta"]["owner"] == found["odcs"]["team"]["name"] == "recs"
    assert of_dbt["tables"][0]["config"]["freshness"] == {"warn_after": {"count": 30, "period": "hour"}}


def test_only_what_blocks_a_publication_is_promised(tmp_path: Path) -> None:
    everything = _quality(_of(tmp_path, tmp_path / "lake", tmp_path / "out", audit={"own": OWN}))
    assert {"seen_item", "ranks", "top_k", "source", "few"} <= set(everything)
    assert not {"coverage", "not_offered", "list_churn", "concentration"} & set(everything)
    assert everything["constant_lists"]["description"].endswith("at most 0.01 of the lists have one score only")
    changes = {
        "audit": {"checks": {"seen_item": {"severity": "warn"}, "coverage": {"severity": "block"}}},
        "candidates": {"where": "movie_id > 3"},
        "recommend": {"index": {"kind": "hnsw"}},
        "audiences": {"enabled": False},
    }
    found = _of(tmp_path, tmp_path / "lake", tmp_path / "out", **changes)
    assert set(_quality(found)) == set(everything) - {*OWN, "seen_item", "top_k"} | {"coverage", "not_offered"}
    assert len(found["odcs"]["schema"]) == len(found["dbt"]["sources"][0]["tables"]) == 1


def test_the_contract_holds_for_published_tables(small_night: Path, tmp_path: Path) -> None:
    """DuckDB runs the checks that a tool can run; the types are those of the files."""
    found = _of(small_night / "source", small_night / "lake", tmp_path, audit={"own": OWN})
    types = {"bigint": "int64", "int": "int32", "float": "float", "string": "string"}
    checks = 0
    for table in found["odcs"]["schema"]:
        (file,) = Path("/").glob(table["physicalName"][1:])
        schema = pq.read_schema(file)
        assert [c["name"] for c in table["properties"]] == schema.names
        stored = [field.type.value_type if field.type == DS_TYPE else field.type for field in schema]
        assert [types[c["physicalType"]] for c in table["properties"]] == list(map(str, stored))
        database = duckdb.connect()
        database.execute(f"CREATE VIEW {table['name']} AS FROM read_parquet('{table['physicalName']}')")
        for query in _queries(table):
            assert database.execute(query).fetchone() == (0,), query
            checks += 1
    assert checks == 7 + 1 + 2 + 1 + 7 + 2 + 1  # not null, sql, unique and values of each table


def _queries(table: dict[str, Any]) -> list[str]:
    """Each executable promise as a query that counts what breaks it."""
    name = table["name"]
    queries = [f"SELECT count(*) FROM {name} WHERE {c['name']} IS NULL" for c in table["properties"] if c["required"]]
    for column in ({"name": "", "quality": table["quality"]}, *table["properties"]):
        for rule in column.get("quality", []):
            if rule.get("type") == "sql":
                queries.append(rule["query"])
            elif rule.get("metric") == "duplicateValues":
                key = ", ".join(rule["arguments"]["properties"])
                queries.append(f"SELECT count(*) FROM (SELECT 1 FROM {name} GROUP BY {key} HAVING count(*) > 1)")
            elif rule.get("metric") == "invalidValues":
                values = tuple(rule["arguments"]["validValues"])
                queries.append(f"SELECT count(*) FROM {name} WHERE {column['name']} NOT IN {values}")
    return queries


def test_vectors_are_described_with_how_to_rank_by_them(small_night: Path, tmp_path: Path) -> None:
    """By the newest night that has them; before the first one, the metadata of the files is named."""
    schema = json.loads((files("open_data_contract_standard") / "schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    told = {}
    for when in ("before", "after"):
        found = _of(small_night / "source", tmp_path / "lake", tmp_path / "out", vectors={"enabled": True})
        assert [problem.message for problem in validator.iter_errors(found["odcs"])] == []
        told[when] = found["odcs"]["schema"][2]["properties"][1]
        run = Run(tmp_path / "lake", DATE)
        work = StageWork.plan(run, "write-vectors", writes=(USER_VECTORS,), settings={})
        work.begin()[USER_VECTORS].mkdir()
        details = {"scoring": Scoring("l1", 2.5, 9, 8).as_json()}
        work.commit({USER_VECTORS: TableFiles([])}, {USER_VECTORS: details})
    assert [table["name"] for table in found["odcs"]["schema"]][2:] == list(VECTORS)
    assert {told[when]["physicalType"] for when in told} == {"array<float>"}
    assert told["before"]["description"].endswith("in the metadata of each Parquet file, as kgspark.rank_by")
    assert told["after"]["logicalTypeOptions"] == {"minItems": 9, "maxItems": 9}
    assert "9 numbers; rank by the smallest distance" in told["after"]["description"]
    assert "the score is 2.5 minus the distance" in told["after"]["description"]
    rules = _quality(found, 2)
    assert rules["incomplete"]["arguments"] == {"properties": ["user_id", "ds"]}
    assert rules["vector_source"]["arguments"] == {"validValues": ["average", "facts", "model"]}
    assert {"vector_values", "vector_scores", "model_id"} <= set(rules)
    assert "ranks" not in rules


def test_ids_have_the_type_of_the_newest_night(small_night: Path, tmp_path: Path) -> None:
    """Parquet columns of text are strings whatever `source.ids` says."""
    source = {"path": "nowhere", "ids": "string"}
    night = a_night(small_night / "lake", source=source, contract={"out": str(tmp_path)})
    columns = _written(tmp_path, night)["odcs"]["schema"][0]["properties"]
    assert columns[0]["physicalType"] == "bigint"


@pytest.mark.extended
def test_dbt_reads_the_tables_and_finds_every_promise_kept(small_night: Path, tmp_path: Path) -> None:
    if not DBT.exists():
        pytest.skip("no index: make test-extended could not install dbt")
    (tmp_path / "models").mkdir()
    _of(small_night / "source", small_night / "lake", tmp_path / "models")
    project = {"name": "shop", "version": "1.0.0", "profile": "shop", "flags": {"send_anonymous_usage_stats": False}}
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(project))
    target = {"target": "dev", "outputs": {"dev": {"type": "duckdb", "path": str(tmp_path / "shop.duckdb")}}}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"shop": target}))
    tests = _dbt(tmp_path, "test")
    assert "Deprecat" not in tests.stdout
    assert "PASS=18 WARN=0 ERROR=0" in tests.stdout, tests.stdout
    fresh = _dbt(tmp_path, "source", "freshness")  # the night of the test is years old
    assert "WARN freshness of kgspark.recommendations" in fresh.stdout, fresh.stdout
    shutil.rmtree(tmp_path / "models")


def _dbt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(DBT), *arguments, "--project-dir", str(folder), "--profiles-dir", str(folder), "--no-use-colors"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
