"""The quarantine table: every line that was refused, with its file, its line number and the reason."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from kgspark.files import TableFiles
from kgspark.spark.cleaning.rating_rules import is_refused
from kgspark.spark.cleaning.source.lines import file_path, with_line_numbers
from kgspark.spark.frames import rows_frame, write_empty, write_table

_SCHEMA = pa.schema(
    [("table", pa.string()), ("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)
_BLOCKS = "file string, block bigint, lines bigint, first_row bigint"


def refused_lines(checked: DataFrame, blocks: Sequence[Row], table: str, root: Path) -> DataFrame:
    """Rows of the quarantine table for the lines of `table` that have a `reason` to refuse them. Lazy.

    blocks  the input splits, which begin with the columns of `_BLOCKS`
    root    the folder that the names of files are relative to
    """
    refused = checked.where(is_refused())
    starts = rows_frame(checked.sparkSession, [block[:4] for block in blocks], _BLOCKS)
    numbered = with_line_numbers(refused.select("file", "block", "row", "reason", "raw"), starts)
    name = F.substr(file_path(), F.lit(len(str(root).rstrip("/")) + 2))
    return numbered.select(F.lit(table).alias("table"), name.alias("file"), "line", "reason", "raw")


def write_quarantine(refused: list[DataFrame], folder: Path) -> TableFiles:
    """Writes the `refused_lines` of all tables to the absent `folder`, in one file."""
    if not refused:
        return write_empty(_SCHEMA, folder)
    rows = reduce(DataFrame.unionByName, refused)
    return write_table(rows.repartition(1).sortWithinPartitions("table", "file", "line"), folder)


def count_by_reason(quarantine: DataFrame) -> dict[str, dict[str, int]]:
    """Number of quarantined lines by table and reason."""
    counts: dict[str, dict[str, int]] = {}
    for row in quarantine.groupBy("table", "reason").count().orderBy("table", "reason").collect():
        counts.setdefault(row["table"], {})[row["reason"]] = row["count"]
    return counts
