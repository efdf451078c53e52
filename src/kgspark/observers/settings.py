"""Settings of what other programs are told about a night."""

from pathlib import Path

from pydantic import Field

from kgspark.config import Settings


class ObserveSettings(Settings):
    """What other programs are told at the end of a command. OpenLineage and MLflow are set by their own variables."""

    prometheus: Path | None = Field(
        None,
        description="text file for the textfile collector of Prometheus' node exporter, such as "
        "/var/lib/node_exporter/kgspark.prom; replaced at the end of each command, also of one that failed",
    )
