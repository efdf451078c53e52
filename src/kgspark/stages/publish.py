"""publish: audits the night's ranked tables, and then publishes them to every target of `publish.targets`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from kgspark.errors import AuditError
from kgspark.files import write_atomically
from kgspark.night.night import Night
from kgspark.night.reads import (
    DIRECTIONS,
    candidate_tables,
    entity_layout,
    held_out_metrics,
    id_type,
    list_length,
    publish_targets,
    ranked_tables,
    read_candidates,
    seen_pairs,
)
from kgspark.runs import Outcome, StageWork
from kgspark.spark.frames import read_table
from kgspark.spark.ranking.audit import Check, RankedTable, audit_rankings
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS, SEEN


def run(night: Night) -> Outcome:
    """Audits and publishes, unless every target has these tables already."""
    tables = ranked_tables(night)
    work = StageWork.plan(
        night.run,
        "publish",
        reads=(*tables, *candidate_tables(night), RATINGS, SEEN, ENTITIES, MODEL),
        writes=(PUBLISHED,),
        settings=night.settings.publish.model_dump() | {"tables": tables},
    )
    return night.stage(work, _publish, _summary, _is_published)


def _is_published(night: Night) -> bool:
    return all(target.is_there(night.run, table) for target in publish_targets(night) for table in ranked_tables(night))


def _publish(night: Night, work: StageWork) -> None:
    tables = ranked_tables(night)
    if night.settings.publish.beat_popularity:
        _check_popularity(night)
    checks = _audit(night, tables)
    folder = work.begin()[PUBLISHED]
    folder.mkdir()
    _check_audit(checks, folder / "audit.json")
    for target in publish_targets(night):
        target.publish(night.run, tables)
    work.commit({PUBLISHED: []}, {PUBLISHED: {"tables": tables, "checks": sum(map(len, checks.values()))}})


def _check_popularity(night: Night) -> None:
    """AuditError if the model is worse than recommending the most popular movies."""
    metrics = held_out_metrics(night)
    ours, popular = metrics.get("model", {}).get("ndcg@10"), metrics.get("popularity", {}).get("ndcg@10")
    if ours is not None and popular is not None and ours < popular:
        raise AuditError(
            f"nothing is published: the model's NDCG@10 on held-out likes is {ours:.4f}, below popularity's "
            f"{popular:.4f}; change the settings of train, or set publish.beat_popularity=false to publish anyway"
        )


def _audit(night: Night, tables: Sequence[str]) -> dict[str, list[Check]]:
    frames = {name: read_table(night.spark, night.run.table(name)) for name in (*tables, ENTITIES)}
    ranked = [RankedTable(frames[name], DIRECTIONS[name], list_length(night, name)) for name in tables]
    checks = audit_rankings(
        ranked, seen_pairs(night), frames[ENTITIES], entity_layout(night), id_type(night), read_candidates(night)
    )
    return dict(zip(tables, checks, strict=True))


def _check_audit(checks: Mapping[str, Sequence[Check]], report: Path) -> None:
    """Writes all checks to `report`; AuditError with the first one that fails."""
    text = json.dumps({name: [asdict(check) for check in found] for name, found in checks.items()}, indent=2)
    write_atomically(report, text + "\n")
    failed = [(name, check) for name, found in checks.items() for check in found if check.failures]
    if failed:
        table, check = failed[0]
        raise AuditError(
            f"{table}: nothing is published, {len(failed)} audit checks fail; first: {check.name!r} fails for "
            f"{check.failures:,} ({check.example}); all of them are in {report}"
        )


def _summary(night: Night) -> str:
    details = night.run.manifest(PUBLISHED).details
    rows = [f"{night.run.manifest(name).rows:,} rows of {name}" for name in details["tables"]]
    return f"{details['checks']} checks passed; {', '.join(rows)}"
