"""Writing of vectors inside a Spark task: numbers of files in, one Parquet file of vectors per number out.

A `VectorTask` reads its part of the memory-mapped search space; nothing here depends on Spark.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from kgspark.files import DataFile
from kgspark.published_schemas import VECTOR_TYPE
from kgspark.retrieval.published_files import write_published
from kgspark.search_space import SearchSpace, Side, read_ids
from kgspark.stores.shared_folders import readable
from kgspark.tables import SOURCES, Columns

# Numbers per row group: enough for long reads, and few enough for many tasks of a machine.
_NUMBERS = 1 << 22


@dataclass(frozen=True)
class VectorTask:
    """Writes the vectors of one side of a search space; small, and pickled with every task.

    Folders are places that every machine can read (see `stores.shared_folders`).

    space      folder of the search space and its external ids
    side       the vectors to write
    rows       number of all vectors
    rows_per_file  file i holds the vectors [i · rows_per_file, (i + 1) · rows_per_file)
    out        existing folder to write the files to
    id_name    column of the external ids
    constants  further columns of the files (see `write_published`)
    """

    space: str
    side: Side
    rows: int
    rows_per_file: int
    out: str
    id_name: str
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Number of files; one without rows if there is no vector."""
        return max(1, -(-self.rows // self.rows_per_file))

    def __call__(self, number: int) -> tuple[DataFile, int]:
        """Writes file `number`; returns its description and the sum of its rows (see `content.sum_of_rows`).

        The rows are in the order of positions: the id, `vector` float32 (d,), `source`, and the constants. The file's
        metadata says how to rank by the vectors (`Scoring.as_metadata`). The values are those of the search space, to
        the bit. Raises InputError if a file of the search space is missing, or is not of the same night.
        """
        start = number * self.rows_per_file
        return write_published(
            self.out,
            f"part-{number:05d}.parquet",
            self._batches(start, min(start + self.rows_per_file, self.rows)),
            self.constants,
        )

    def _batches(self, start: int, end: int) -> Iterator[pa.RecordBatch]:
        folder = readable(self.space)
        space = SearchSpace.load(folder)
        vectors, sources = space.vectors(self.side), space.sources(self.side)
        ids = read_ids(folder, self.side, len(vectors))
        dimension = vectors.shape[1]
        kind = pa.list_(VECTOR_TYPE.value_field, dimension)
        step = max(1, _NUMBERS // dimension)
        for first in range(start, max(end, start + 1), step):
            some = slice(first, min(first + step, end))
            numbers = pa.array(np.ascontiguousarray(vectors[some]).reshape(-1))
            columns = {
                self.id_name: ids[some],
                Columns.VECTOR: pa.FixedSizeListArray.from_arrays(numbers, type=kind),
                Columns.SOURCE: pa.array(SOURCES).take(pa.array(sources[some])),
            }
            fields = [pa.field(name, column.type) for name, column in columns.items()]
            yield pa.RecordBatch.from_arrays(
                list(columns.values()), schema=pa.schema(fields, space.scoring.as_metadata())
            )
