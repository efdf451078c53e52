"""A table of Parquet files, to read as the frame that one likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from kgspark.answers.frames import to_pandas, to_polars
from kgspark.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from kgspark.spark.frames import DataFrame, SparkSession


@dataclass(frozen=True)
class StoredTable:
    """A complete table of a night.

    name    as on the docs' page “Tables and files”
    folder  of this machine, with the files
    """

    name: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """Its Parquet files, in order. Raises InputError for a table of other files, such as a model."""
        found = sorted(path for path in self.folder.glob("*.parquet") if path.name[0] not in "_.")
        if not found:
            raise InputError(
                f"{self.folder}: no Parquet files, so this is no table of rows; a night's vectors are user_vectors and "
                "item_vectors"
            )
        return found

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; reads one footer."""
        return self._dataset().schema

    @property
    def rows(self) -> int:
        """Number of rows; reads the footers."""
        return int(self._dataset().count_rows())

    def to_arrow(self, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """The rows in the order of the files.

        columns  names of the columns to read; None for all
        where    an expression of pyarrow, such as `pc.field("rank") <= 10`; None for all rows
        """
        return self._dataset().to_table(columns=None if columns is None else list(columns), filter=where)

    def to_pandas(self, columns: Sequence[str] | None = None, where: Any = None) -> "pd.DataFrame":
        """The same as a pandas frame; InputError without pandas."""
        return to_pandas(self.to_arrow(columns, where))

    def to_polars(self, columns: Sequence[str] | None = None, where: Any = None) -> "pl.DataFrame":
        """The same as a Polars frame; InputError without Polars."""
        return to_polars(self.to_arrow(columns, where))

    def to_spark(self, session: "SparkSession") -> "DataFrame":
        """The table as a frame of a Spark session. Lazy."""
        from kgspark.spark.frames import read_table

        _ = self.files
        return read_table(session, self.folder)

    def _dataset(self) -> Any:
        return ds.dataset(self.files, format="parquet")
