"""The gate: tonight's model must be better than popularity, and not worse than the last published model."""

from collections.abc import Mapping
from typing import Any

from kgspark.errors import AuditError
from kgspark.names import Names
from kgspark.night.checks.champion import compare_with
from kgspark.night.earlier_model import split_difference
from kgspark.night.night import Night
from kgspark.night.reads import held_out_ndcg
from kgspark.runs import Run
from kgspark.tables import MODEL, SERVED


def check_model(night: Night, champion: Run | None) -> dict[str, Any]:
    """What was measured, for the manifest; AuditError if the model may not be published.

    champion  the last published night, or None if there is none
    """
    publish, decided = night.settings.publish, {}
    if publish.beat_popularity:
        decided["popularity"] = _check_popularity(night)
    if publish.beat_champion and champion is not None:
        decided["champion"] = _compare(night, champion, publish.champion_tolerance)
    return decided


def _compare(night: Night, champion: Run, tolerance: float) -> dict[str, Any]:
    ours, theirs = (run.manifest(MODEL).details for run in (night.run, champion))
    if SERVED in ours and ours["model_id"] == theirs["model_id"]:  # the champion's weights, so nothing to compare
        return {"date": champion.date, "model_id": theirs["model_id"], "same_model": True}
    if (changed := split_difference(night.run, champion)) is not None:
        night.note(
            f"the model is not compared with that of {champion.date}, which may have learned likes that are held out "
            f"now, because {changed} has changed",
            "warn",
        )
        return {"date": champion.date, "model_id": theirs["model_id"], "changed": changed}
    comparison = compare_with(night, champion)
    _check_champion(comparison, tolerance, night.settings.names)
    return comparison


def _check_popularity(night: Night) -> dict[str, float]:
    measured = held_out_ndcg(night)
    if measured is None:
        raise AuditError(
            f"nothing is published: the model was not measured, because split.protocol={night.settings.split.protocol} "
            "holds out no like; set split, or publish.beat_popularity=false to publish without a measurement"
        )
    metric, ours, popular = measured
    if ours < popular:
        raise AuditError(
            f"nothing is published: the model's {metric} on held-out likes is {ours:.4f}, below popularity's "
            f"{popular:.4f}; change the settings of train, or set publish.beat_popularity=false to publish anyway"
        )
    return {"model": ours, "popularity": popular}


def _check_champion(comparison: Mapping[str, Any], tolerance: float, names: Names) -> None:
    """Refuses a model whose mean is too low, if chance does not explain it: the whole interval is below zero."""
    ours, champion, (_, high) = comparison["ours"], comparison["champion"], comparison["ci95"]
    if ours < champion * (1 - tolerance) and high < 0:
        raise AuditError(
            f"nothing is published: the model's {comparison['metric']} is {ours:.4f}, that of the model published on "
            f"{comparison['date']} is {champion:.4f} ({comparison['users']:,} {names.users}; the 95 % interval of the "
            f"lead ends at {high:.4f}); change the settings of train, or set publish.beat_champion=false to publish "
            "anyway"
        )
