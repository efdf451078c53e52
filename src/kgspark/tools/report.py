"""report: the page of a night, report.html in its folder. Starts no Spark and locks nothing."""

from typing import Any

from kgspark.night.night import Night
from kgspark.night.night_report import write_report


def run(night: Night) -> dict[str, Any]:
    """Writes the page of the night of `run_date` and prints its path; returns both, which `--json` prints."""
    path = write_report(night)
    night.say(path)
    return {"run_date": night.run.date, "report": path}
