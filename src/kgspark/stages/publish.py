"""publish: audits the night's tables, and then publishes them to every target of `publish.targets`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError, KgsparkError
from kgspark.files import TableFiles, describe_folder, write_atomically
from kgspark.night.checks.audit import audit_night
from kgspark.night.checks.champion import find_champion
from kgspark.night.checks.gate import check_model
from kgspark.night.night import Night
from kgspark.night.reads import candidate_tables, each_target, publish_targets, tables_to_publish
from kgspark.night.refusals import keep_refusal
from kgspark.runs import Outcome, Run, StageWork
from kgspark.spark.ranking.audit.findings import Finding, json_lines
from kgspark.tables import AUDIT_FILE, ENTITIES, MODEL, PUBLISHED, RATINGS, SEARCH_SPACE, SEEN, TRIPLES
from kgspark.warehouse.files import warehouse_of
from kgspark.warehouse.retention import remove_old
from kgspark.warehouse.targets import Target


def run(night: Night) -> Outcome:
    """Audits and publishes, unless every target has these tables already."""
    tables, champion = tables_to_publish(night), find_champion(night)
    work = StageWork.plan(
        night.run,
        "publish",
        reads=(*tables, *candidate_tables(night), RATINGS, SEEN, ENTITIES, TRIPLES, MODEL, SEARCH_SPACE),
        writes=(PUBLISHED,),
        settings=stage_settings(night),
        sources={"champion": champion.manifest(MODEL).fingerprint} if champion else None,
    )
    with keep_refusal(night.run):
        return night.stage(work, partial(_publish, champion=champion), _summary, _is_published)


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that publication depends on."""
    settings = night.settings
    return {
        "audit": settings.audit.model_dump(),
        "names": settings.names.model_dump(),
        "publish": settings.publish.model_dump(),
        "tables": tables_to_publish(night),
    }


def _is_published(night: Night) -> bool:
    return all(target.is_there(night.run, tables_to_publish(night)) for target in publish_targets(night).values())


def _publish(night: Night, work: StageWork, champion: Run | None) -> None:
    tables = tables_to_publish(night)
    measured = check_model(night, champion)
    findings = audit_night(night, tables)
    folder = work.begin()[PUBLISHED]
    folder.mkdir()
    _check_audit(night, findings, folder / AUDIT_FILE)
    published = each_target(night, lambda name, target: target.publish(night.run, tables))
    passed, warned = (sum(f.status == "passed" for f in findings), sum(f.warns for f in findings))
    details = {"tables": tables, "checks": passed, "warnings": warned, "gate": measured, "targets": published}
    work.commit({PUBLISHED: TableFiles(describe_folder(folder))}, {PUBLISHED: details})
    _remove_old(night, champion)


def _remove_old(night: Night, champion: Run | None) -> None:
    """Applies `keep`. The tables are published already, so what cannot be removed is only told."""
    try:
        each_target(night, partial(_remove_dates, night))
        needed = {night.settings.train.warm_start, *([champion.date] if champion else [])}
        removed = remove_old(night.run, night.settings.keep, needed)
    except OSError as error:
        removed = [f"{error.filename}: cannot be removed: {error.strerror}"]
    except KgsparkError as error:
        removed = [f"keep: {error}"]
    for text in removed:
        night.note(text)


def _remove_dates(night: Night, name: str, target: Target) -> None:
    """Removes the dates of a target that `keep.published` does not cover. Those of `files` go with its versions."""
    number = night.settings.keep.published
    if number is None or name == "files":
        return
    old = [date for date in list(target.held(night.run.lake))[number:] if date != night.run.date]
    if old:
        target.remove(night.run.lake, old)
        night.note(f"keep: removed dates of {name}: {', '.join(old)}")


def _check_audit(night: Night, findings: Sequence[Finding], report: Path) -> None:
    """Writes all findings to `report` and prints those that warn; AuditError with the first one that blocks."""
    write_atomically(report, json_lines(findings))
    for finding in findings:
        if finding.warns:
            night.note(f"{finding.table}: {finding}", "warn")
    blocking = [finding for finding in findings if finding.blocks]
    if blocking:
        raise AuditError(
            f"{blocking[0].table}: nothing is published, {len(blocking)} audit checks fail; first: {blocking[0]}; "
            f"all of them are in {report}"
        )


def _summary(night: Night) -> str:
    details = night.run.manifest(PUBLISHED).details
    rows = [f"{night.run.manifest(name).rows:,} rows of {name}" for name in details["tables"]]
    warned = f", {details['warnings']} warned" if details["warnings"] else ""
    latest = warehouse_of(night.run.lake).latest()
    newer = f"; _latest.json stays at the newer date {latest.date}" if latest and latest.date > night.run.date else ""
    return f"{details['checks']} checks passed{warned}; {', '.join(rows)}{newer}"
