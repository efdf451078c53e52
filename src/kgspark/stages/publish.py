"""publish: audits the night's ranked tables, and then publishes them to every target of `publish.targets`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError
from kgspark.files import describe_folder, write_atomically
from kgspark.night.champion import find_champion
from kgspark.night.gate import check_model
from kgspark.night.night import Night
from kgspark.night.reads import (
    DIRECTIONS,
    candidate_tables,
    entity_layout,
    id_type,
    list_length,
    publish_targets,
    ranked_tables,
    read_candidates,
    seen_pairs,
)
from kgspark.runs import Outcome, Run, StageWork
from kgspark.spark.frames import read_table
from kgspark.spark.ranking.audit import Check, RankedTable, audit_rankings
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS, SEEN
from kgspark.warehouse.retention import remove_old


def run(night: Night) -> Outcome:
    """Audits and publishes, unless every target has these tables already."""
    tables, champion = ranked_tables(night), find_champion(night)
    work = StageWork.plan(
        night.run,
        "publish",
        reads=(*tables, *candidate_tables(night), RATINGS, SEEN, ENTITIES, MODEL),
        writes=(PUBLISHED,),
        settings=stage_settings(night),
        sources={"champion": champion.manifest(MODEL).fingerprint} if champion else None,
    )
    return night.stage(work, partial(_publish, champion=champion), _summary, _is_published)


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that publication depends on."""
    return {"publish": night.settings.publish.model_dump(), "tables": ranked_tables(night)}


def _is_published(night: Night) -> bool:
    return all(target.is_there(night.run, ranked_tables(night)) for target in publish_targets(night).values())


def _publish(night: Night, work: StageWork, champion: Run | None) -> None:
    tables = ranked_tables(night)
    measured = check_model(night, champion)
    checks = _audit(night, tables)
    folder = work.begin()[PUBLISHED]
    folder.mkdir()
    _check_audit(checks, folder / "audit.json")
    published = {name: target.publish(night.run, tables) for name, target in publish_targets(night).items()}
    details = {"tables": tables, "checks": sum(map(len, checks.values())), "gate": measured, "targets": published}
    work.commit({PUBLISHED: describe_folder(folder)}, {PUBLISHED: details})
    _remove_old(night, champion)


def _remove_old(night: Night, champion: Run | None) -> None:
    """Applies `keep`. The tables are published already, so a folder that cannot be removed is only told."""
    try:
        needed = {night.settings.train.warm_start, *([champion.date] if champion else [])}
        removed = remove_old(night.run, night.settings.keep, needed)
    except OSError as error:
        removed = [f"{error.filename}: cannot be removed: {error.strerror}"]
    for text in removed:
        night.note(text)


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
