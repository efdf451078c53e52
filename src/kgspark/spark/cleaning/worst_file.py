"""The worst file of the ratings: the one with the most bad lines above the limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.spark.cleaning.source.file_accounts import SourceFile
from kgspark.spark.frames import rows_frame
from kgspark.tables import RATINGS


@dataclass(frozen=True)
class WorstFile:
    """Lines of one file of the ratings.

    name         relative to the folder of the ratings
    lines        number of lines without headers
    quarantined  number of bad lines by reason
    """

    name: str
    lines: int
    quarantined: Mapping[str, int]

    @property
    def bad(self) -> int:
        """Number of bad lines."""
        return sum(self.quarantined.values())

    def __str__(self) -> str:
        return f"the worst file is {self.name} with {self.bad:,} bad of {self.lines:,} lines"


def find_worst_file(quarantine: DataFrame, files: Sequence[SourceFile], limit: float) -> WorstFile | None:
    """The one of `files` whose bad lines exceed the fraction `limit` of its lines by most; None if no line is bad.

    quarantine  the quarantine table

    A share alone would name a file of two lines, and a number alone a long file with few bad lines among many.
    """
    sizes = [(file.name, file.lines - file.headers) for file in files]
    of_reason = quarantine.where(F.col("table") == RATINGS).groupBy("file", "reason").count()
    of_file = of_reason.groupBy("file").agg(
        F.sum("count").alias("bad"), F.sort_array(F.collect_list(F.struct("reason", "count"))).alias("reasons")
    )
    sized = of_file.join(
        rows_frame(quarantine.sparkSession, sizes, "file string, lines bigint"), on="file", how="inner"
    )
    above = F.col("bad") - F.col("lines") * F.lit(limit)
    row = sized.orderBy(above.desc(), "file").first()
    return None if row is None else WorstFile(row["file"], row["lines"], dict(row["reasons"]))
