"""The training: loss and validation by epoch, all metrics, and the quality by groups of users and movies."""

from collections.abc import Mapping, Sequence
from typing import Any

from kgspark.report.night_page.chart import Chart, Series
from kgspark.report.night_page.distributions import class_names
from kgspark.report.night_page.night import PageNight
from kgspark.tables import SERVED


def curves(night: PageNight) -> dict[str, Chart]:
    """Loss and NDCG by epoch, with the best epoch marked; empty for a served model."""
    training = night.model["training"]
    history = training.get("history", [])
    if not history:
        return {}
    epochs = [it["epoch"] for it in history]
    best = training["best_epoch"]
    mark = (best, f"best epoch, {best}") if best else None
    charts = {
        "loss": Chart("lines", epochs, [Series("loss", [it["train_loss"] for it in history], "other")],
                      "epoch", "loss", ".3f", mark=mark)
    }  # fmt: skip
    if any(it["ndcg"] is not None for it in history):
        series = [Series("NDCG", [it["ndcg"] for it in history], "main")]
        charts["validation"] = Chart("lines", epochs, series, "epoch", "NDCG on validation likes", ".4f", mark=mark)
    return charts


def metrics(night: PageNight) -> list[dict[str, Any]]:
    """A row per metric on held-out likes: its name, the model's value, popularity's, and their ratio."""
    model, popular = (night.model["metrics"].get(name, {}) for name in ("model", "popularity"))
    return [
        {"name": name, "model": value, "popularity": popular.get(name), "ratio": _ratio(value, popular.get(name))}
        for name, value in model.items()
    ]


def _ratio(value: float, other: float | None) -> float | None:
    return value / other if other else None


def groups(night: PageNight) -> dict[str, Chart]:
    """Charts of the quality by length of history and by popularity of the movie; empty for a night without them."""
    found = night.model.get("groups")
    if not found:
        return {}
    names, charts = night.names, {}
    k = next((name[name.index("@") :] for name in night.model["metrics"].get("model", {})), "")
    for key, of, count, value in (
        ("by_history", f"likes of the {names.user} that the model learned", "users", "ndcg"),
        ("by_popularity", f"likes of the {names.movie} that the model learned", "likes", "recall"),
    ):
        ours, popular = found["model"].get(key, []), found["popularity"].get(key, [])
        if ours:
            metric = {"ndcg": "NDCG", "recall": "recall"}[value] + k
            charts[key] = _of_groups(ours, popular, of, (count, value), names.users, metric)
    return charts


def _of_groups(
    ours: Sequence[Mapping[str, Any]],
    popular: Sequence[Mapping[str, Any]],
    of: str,
    keys: tuple[str, str],
    users: str,
    metric: str,
) -> Chart:
    words, (count, value) = class_names(), keys
    counted = users if count == "users" else "held-out likes"
    title = f"{of} (below: {counted})"
    x = [f"{words[it['class']]}\n{_short(it[count])}" for it in ours]
    series = [Series("model", [it[value] for it in ours], "main")]
    if len(popular) == len(ours):
        series.append(Series("popularity", [it[value] for it in popular], "past"))
    return Chart("bars", x, series, title, metric, ".3f")


def _short(number: int) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number}"


def facts(night: PageNight) -> list[tuple[str, str]]:
    """What is to be known of the model, as names and values."""
    training, settings = night.model["training"], night.run.manifest("model").settings["train"]
    found = [("model", night.model["model_id"])]
    if SERVED in night.model:
        found.append(("trained on", night.model[SERVED]["trained"]))
    found += [(name, str(settings[name])) for name in ("dim", "objective", "learning_rate", "seed") if name in settings]
    if not training.get("history"):
        return found
    found.append(("epochs", f"{training['epochs']}, the best is {training['best_epoch']}"))
    if training["recent_share"]:
        found.append(("from the latest likes", f"{training['recent_share'] * 100:.0f} % of a query"))
    if training["trend_weight"]:
        found.append(("trend", f"weight {training['trend_weight']:g}, half-life {training['trend_half_life']:g} days"))
    return [*found, ("training took", f"{training['seconds']:.1f} s")]
