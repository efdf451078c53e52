"""What of a night needs the times of ratings."""

from typing import TYPE_CHECKING

from kgspark.tables import CO_WATCHED

if TYPE_CHECKING:
    from kgspark.night.settings import NightSettings

_SPLITS = ("leave-one-out", "time")
_EVALUATIONS = ("leave-one-out", "time", "next", "nights")


def check_needs_no_times(settings: "NightSettings") -> None:
    """ValueError with the first key that needs times."""
    history, export, evaluate = settings.train.history, settings.train.export, settings.evaluate
    needs = {
        f"split.protocol={settings.split.protocol}": settings.split.protocol in _SPLITS,
        f"evaluate.protocol={evaluate.protocol}": evaluate.protocol in _EVALUATIONS and evaluate.sequences is None,
        f"train.history.encoder={history.encoder}": history.encoder == "network",
        f"train.export.recent_share={export.recent_share}": export.recent_share not in ("auto", 0, None),
        f"train.export.trend_weight={export.trend_weight}": export.trend_weight not in ("auto", 0, None),
        "clean.repeated=latest": settings.clean.repeated == "latest",
    }
    needs |= {f"relations.{name}": relation.table == CO_WATCHED for name, relation in settings.relations.items()}
    key = next((key for key, is_so in needs.items() if is_so), None)
    if key is not None:
        raise ValueError(f"{key} needs the times of ratings, and source.columns.timestamp is null")
