"""publish: the audit of the night's tables, then one atomic move a table into the warehouse."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError
from kgspark.files import write_atomically
from kgspark.night.candidates import candidate_tables, read_candidates
from kgspark.night.night import Night, Outcome
from kgspark.night.reads import SIDES, entity_layout, id_type, list_length, ranked_tables
from kgspark.runs import StageWork
from kgspark.spark.frames import read_table
from kgspark.spark.ranking.audit import Check, RankedTable, audit_rankings
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS
from kgspark.warehouse import files as files_target


def run(night: Night) -> Outcome:
    """Audits and publishes, unless these very tables are published already."""
    tables = ranked_tables(night)
    work = StageWork.plan(
        night.run,
        "publish",
        reads=(*tables, *candidate_tables(night), RATINGS, ENTITIES, MODEL),
        writes=(PUBLISHED,),
        settings=night.settings.publish.model_dump() | {"tables": tables},
        sources={"warehouse": _missing_mark(night, tables)},
    )
    return night.stage(work, lambda work: _publish(night, work, tables), lambda: _summary(night))


def _missing_mark(night: Night, tables: list[str]) -> str:
    """Makes the stage run again where somebody emptied the warehouse."""
    return ", ".join(sorted(name for name in tables if not _target(night, name).is_dir())) or "in place"


def _target(night: Night, table: str) -> Path:
    return night.run.lake / "warehouse" / table / f"ds={night.run.date}"


def _publish(night: Night, work: StageWork, tables: list[str]) -> str:
    if night.settings.publish.beat_popularity:
        _gate(night)
    checks = _audit(night, tables)
    folder = work.begin()[PUBLISHED]
    folder.mkdir()
    report: dict[str, Any] = {name: [asdict(check) for check in found] for name, found in checks.items()}
    write_atomically(folder / "audit.json", json.dumps(report, indent=2) + "\n")
    broken = [(name, check) for name, found in checks.items() for check in found if check.failures]
    if broken:
        table, check = broken[0]
        raise AuditError(
            f"{table}: nothing is published, {len(broken)} audit checks fail; first: {check.name!r} fails for "
            f"{check.failures:,} ({check.example}); all of them are in {folder / 'audit.json'}"
        )
    for table in tables:
        manifest = night.run.manifest(table)
        files_target.publish(
            table, night.run.table(table), manifest.files, night.run.lake / "warehouse", night.run.date
        )
    # The warehouse is in place now, and a next look finds it so.
    done = StageWork(work.run, work.stage, work.outputs, dict(work.inputs) | {"warehouse": "in place"}, work.settings)
    done.commit({PUBLISHED: []}, {PUBLISHED: {"tables": tables, "checks": sum(map(len, checks.values()))}})
    return _summary(night)


def _gate(night: Night) -> None:
    """The model must not be worse than recommending what is popular."""
    metrics = night.run.manifest(MODEL).details["metrics"]
    ours, popular = metrics.get("model", {}).get("ndcg@10"), metrics.get("popularity", {}).get("ndcg@10")
    if ours is not None and popular is not None and ours < popular:
        raise AuditError(
            f"nothing is published: the model's NDCG@10 on held-out likes is {ours:.4f}, below popularity's "
            f"{popular:.4f}; look at train.*, or set publish.beat_popularity=false to publish all the same"
        )


def _audit(night: Night, tables: list[str]) -> dict[str, list[Check]]:
    read = {name: read_table(night.spark, night.run.table(name)) for name in (*tables, RATINGS, ENTITIES)}
    ranked = [RankedTable(read[name], SIDES[name], list_length(night, name)) for name in tables]
    checks = audit_rankings(
        ranked, read[RATINGS], read[ENTITIES], entity_layout(night), id_type(night), read_candidates(night)
    )
    return dict(zip(tables, checks, strict=True))


def _summary(night: Night) -> str:
    details = night.run.manifest(PUBLISHED).details
    rows = [f"{night.run.manifest(name).rows:,} rows of {name}" for name in details["tables"]]
    return f"{details['checks']} checks passed; {', '.join(rows)}"
