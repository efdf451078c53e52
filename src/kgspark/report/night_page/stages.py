"""The course of the night: its stages in time and memory, the last nights, and the churn of the lists."""

from typing import Any

from kgspark.report.night_page.chart import Chart, Series
from kgspark.report.night_page.night import PageNight
from kgspark.report.night_page.reach import K
from kgspark.run_figures import list_churn


def rows(night: PageNight) -> list[dict[str, Any]]:
    """A row per stage, in order: when it began and how long it took, as fractions of the night, and its memory."""
    total, begun, found = sum(night.context.seconds.values()), 0.0, []
    for stage, seconds in night.context.seconds.items():
        peak = night.context.memory.get(stage, 0)
        found.append(
            {
                "stage": stage,
                "begun": begun / total if total else 0.0,
                "share": seconds / total if total else 0.0,
                "seconds": seconds,
                "full": night.context.full.get(stage),
                "memory": peak / 2**30,
                "memory_share": peak / max(night.context.memory.values()) if peak else 0.0,
            }
        )
        begun += seconds
    return found


def charts(night: PageNight) -> dict[str, Chart]:
    """The metric and the seconds of the last nights, if there are several."""
    nights = night.context.nights
    if len(nights) < 2:
        return {}
    dates, charts = [it["date"] for it in nights], {}
    metric = nights[-1].get("metric")
    if metric:
        same = [it if it.get("metric") == metric else {} for it in nights]
        series = [
            Series("model", [it.get("model") for it in same], "main"),
            Series("popularity", [it.get("popularity") for it in same], "past"),
        ]
        charts["nights"] = Chart("lines", dates, series, "night", metric.upper(), ".4f")
    if any(it.get("seconds") for it in nights):
        seconds = [Series("seconds", [it.get("seconds") for it in nights], "other")]
        charts["durations"] = Chart("bars", dates, seconds, "night", "seconds", ",.0f")
    return charts


def kept_chart(night: PageNight, kept: list[int]) -> Chart:
    """How many users keep how many of their first rows since the night before."""
    title = f"{night.names.movies} of the first {K} that were there before"
    return Chart("bars", list(map(str, range(K + 1))), [Series(night.names.users, kept)], title, night.names.users)


def churn(night: PageNight) -> list[tuple[str, float]]:
    """The share of each published table's rows that is new since the last published night."""
    return [(table.replace("_", " "), value) for table, value in list_churn(night.context.findings).items()]
