"""generate: synthetic ratings of any size in MovieLens' format, to test a night or a cluster."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark import config
from kgspark.errors import InputError
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
from kgspark.spark.synthetic import write_movielens
from kgspark.synthetic import SyntheticSettings


class GenerateSettings(SyntheticSettings):
    """`kgspark generate OUT ratings=... users=... movies=... seed=...`."""

    spark: SessionSettings = Field(default_factory=SessionSettings, description="the Spark session")


def run(out: str, overrides: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Writes the folder `out` completely or not at all; InputError if it exists already."""
    settings, folder = config.from_overrides(GenerateSettings, overrides), Path(out)
    if folder.exists():
        raise InputError(f"{folder}: exists already; remove it, or name another folder")
    began = time.perf_counter()
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    size = SyntheticSettings.model_validate(settings.model_dump(exclude={"spark"}))
    with spark_session(settings.spark, "kgspark generate") as session:
        written = write_movielens(session, size, unfinished.absolute())
    unfinished.rename(folder)
    seconds = time.perf_counter() - began
    say(
        f"{folder}: {size.ratings:,} ratings of {size.users:,} users and {size.movies:,} movies, "
        f"{written / 2**20:,.0f} MiB, {seconds:.0f} s"
    )
    return {"out": str(folder), **size.model_dump(), "bytes": written, "seconds": seconds}
