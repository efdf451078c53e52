"""The tiles at the head of the page: the night in one look."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kgspark.report.night_page.night import PageNight
from kgspark.tables import PUBLISHED, RATINGS, SERVED


@dataclass(frozen=True)
class Tile:
    """One figure.

    tone   good, bad or plain
    trend  values of the last nights, oldest first, for a small line
    share  of a whole in [0, 1], for a small bar; None for none
    """

    title: str
    value: str
    text: str
    tone: str = "plain"
    trend: Sequence[float] = ()
    share: float | None = None
    unit: str = ""


def tiles(night: PageNight) -> list[Tile]:
    """The tiles for which the night has figures."""
    found = (_quality(night), _champion(night), _rows(night), _input(night), _audit(night), _minutes(night))
    return [tile for tile in found if tile is not None]


def metric_of(night: PageNight) -> str | None:
    """The name of NDCG with its K; None if nothing was measured."""
    measured: Mapping[str, Any] = night.model["metrics"].get("model", {})
    return next((name for name in measured if name.startswith("ndcg@")), None)


def _quality(night: PageNight) -> Tile | None:
    metric = metric_of(night)
    if metric is None:
        return Tile("Quality", "not measured", "no like was held out")
    ours, popular = (night.model["metrics"][name].get(metric, 0.0) for name in ("model", "popularity"))
    trend = [it["model"] for it in night.context.nights if it.get("metric") == metric and it["model"] is not None]
    by_rules = night.run.manifest("recommendations").details.get("held_out")
    if by_rules:
        ruled, alone = (by_rules[name][metric] for name in ("with_rules", "model"))
        text = f"with the business rules; {alone:.4f} by the model alone, {popular:.4f} by popularity"
        return Tile(metric.upper(), f"{ruled:.4f}", text, "good" if ruled >= popular else "bad", trend)
    lead = f"{(ours / popular - 1) * 100:+.0f} % against popularity, {popular:.4f}" if popular else "popularity has 0"
    return Tile(metric.upper(), f"{ours:.4f}", lead, "good" if ours >= popular else "bad", trend)


def _champion(night: PageNight) -> Tile | None:
    if SERVED in night.model:
        return Tile("Model", "served", f"not trained tonight; it is of {night.model[SERVED]['trained']}")
    if night.context.state != "published":
        return None  # the manifest, if there is one, is of other tables
    gate = night.run.manifest(PUBLISHED).details["gate"].get("champion")
    if gate is None:
        return Tile("Champion", "none", "no earlier model was compared")
    if "ours" not in gate:
        same = gate.get("same_model")
        return Tile("Champion", "the same" if same else "not compared", f"model of {gate['date']}")
    lead, (low, high) = gate["ours"] - gate["champion"], gate["ci95"]
    tone = "good" if low > 0 else "bad" if high < 0 else "plain"
    verdict = {"good": "better", "bad": "worse"}.get(tone, "no clear difference")
    text = f"{verdict} than {gate['date']}" if tone != "plain" else f"{verdict} from {gate['date']}"
    return Tile("Against the champion", signed(lead), f"{text}: 95 % interval {signed(low)} to {signed(high)}", tone)


def signed(value: float) -> str:
    """A difference of two metrics, with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def _rows(night: PageNight) -> Tile:
    manifests = [(name, night.run.find_manifest(name)) for name in ("recommendations", "audiences", "similar_items")]
    rows = [(name.replace("_", " "), manifest.rows) for name, manifest in manifests if manifest is not None]
    details = night.run.manifest("recommendations").details
    most = "" if rows[0][1] == details["k"] * sum(details.get("users", {}).values()) else "at most "
    text = f"{most}{details['k']} for each {night.names.user}"
    others = [f"{count:,} of {name}" for name, count in rows[1:]]
    return Tile("Recommendations", f"{rows[0][1]:,}", "; ".join([text, *([", ".join(others)] if others else [])]))


def _input(night: PageNight) -> Tile:
    accounts = night.cleaning.get("accounts", {}).get(RATINGS)
    if accounts is None:
        return Tile("Ratings", f"{night.run.manifest(RATINGS).rows:,}", "")
    bad = sum(accounts["quarantined"].values())
    lines = max(accounts["lines"] - accounts["headers"], 1)
    text = f"{bad:,} of {lines:,} lines in quarantine, {bad / lines * 100:.2f} %"
    return Tile("Ratings", f"{accounts['kept']:,}", text, "plain", share=bad / lines if bad else None)


def _audit(night: PageNight) -> Tile | None:
    findings = night.context.findings
    if not findings:
        return None
    passed = sum(it["status"] == "passed" for it in findings)
    blocked = sum(it["status"] == "failed" and it["severity"] == "block" for it in findings)
    warned = sum(it["status"] == "failed" and it["severity"] == "warn" for it in findings)
    tone = "bad" if blocked else "plain" if warned else "good"
    return Tile("Audit", f"{passed} passed", f"{blocked} failed, {warned} warned", tone)


def _minutes(night: PageNight) -> Tile | None:
    seconds = sum(night.context.seconds.values())
    if not seconds:
        return None
    trend = [it["seconds"] for it in night.context.nights if it.get("seconds")]
    value, unit = (f"{seconds / 60:.1f}", "minutes") if seconds >= 100 else (f"{seconds:.1f}", "seconds")
    if not night.context.memory:
        return Tile("Duration", value, "", trend=trend, unit=unit)
    stage, peak = max(night.context.memory.items(), key=lambda it: it[1])
    return Tile("Duration", value, f"most memory {peak / 2**30:.1f} GiB, in {stage}", trend=trend, unit=unit)


def polyline(values: Sequence[float], width: int = 96, height: int = 28) -> str:
    """The points of a small line through the values, for SVG."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(values, width, height))


def _points(values: Sequence[float], width: int, height: int) -> Iterator[tuple[float, float]]:
    low, high = min(values), max(values)
    for place, value in enumerate(values):
        x = 2 + place * (width - 4) / max(len(values) - 1, 1)
        yield x, height - 3 - (height - 6) * ((value - low) / (high - low) if high > low else 0.5)
