"""A night's table as a stream of record batches, for targets that copy rows, and the check of what they hold."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.content import columns_text, content_hash, sum_of_rows
from kgspark.errors import AuditError, StageError
from kgspark.manifests import Manifest
from kgspark.published_schemas import VECTOR_TYPE
from kgspark.runs import Run
from kgspark.tables import Columns


@dataclass(frozen=True)
class TableRows:
    """The rows of a published table of a night."""

    run: Run
    table: str

    @cached_property
    def manifest(self) -> Manifest:
        """The table's manifest."""
        return self.run.manifest(self.table)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types; other than in the files, `ds` is a plain string, and lists may have any length."""
        plain = [(field.name, _plain(field.type)) for field in self._file_schema]
        return pa.schema(plain)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that, with `ds`, name a row: the query of the list, and the rank; of vectors, the id alone."""
        return (self.schema.names[0], *filter(Columns.RANK.__eq__, self.schema.names))

    @property
    def properties(self) -> dict[str, str]:
        """What the files say of their rows, by keys that begin with `kgspark.`: how vectors rank."""
        metadata = {key.decode(): value.decode() for key, value in (self._file_schema.metadata or {}).items()}
        return {key: value for key, value in metadata.items() if key.startswith("kgspark.")}

    @cached_property
    def _file_schema(self) -> pa.Schema:
        return pq.read_schema(self.run.table(self.table) / self.manifest.files[0].name)

    def stream(self) -> "Stream":
        """A stream of all rows, which ends with an error if they are not those that were audited."""
        return Stream(self)

    def content(self, batches: Iterable[pa.RecordBatch]) -> str:
        """The `content` of batches with at least the table's columns, in any order of rows and columns.

        Values are cast to the table's types, so a store may have returned them as other types of the same kind.
        """
        rows = total = 0
        for batch in batches:
            rows, total = rows + batch.num_rows, total + sum_of_rows(batch.select(self.schema.names).cast(self.schema))
        return content_hash(columns_text(self._file_schema), rows, total)


@dataclass
class Stream:
    """The rows of a table on their way to a target.

    failure  the error that ended the stream; a target's library may have wrapped it in one of its own
    """

    rows: TableRows
    failure: AuditError | None = field(default=None, init=False)

    @property
    def reader(self) -> pa.RecordBatchReader:
        """`batches` as a reader of Arrow's."""
        return pa.RecordBatchReader.from_batches(self.rows.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All batches once. The last step raises AuditError if the rows differ from the manifest's `content`.

        So a target that commits after the last batch commits nothing else than the audited rows.
        """
        table, rows, total = self.rows, 0, 0
        folder = table.run.table(table.table)
        for file in table.manifest.files:
            try:
                for batch in pq.ParquetFile(folder / file.name).iter_batches():
                    plain = batch.cast(table.schema)
                    rows, total = rows + batch.num_rows, total + sum_of_rows(plain)
                    yield plain
            except (OSError, pa.ArrowException) as error:
                raise self._fail(f"{folder / file.name}: it cannot be read ({error})") from error
        if content_hash(columns_text(table._file_schema), rows, total) != table.manifest.content:
            raise self._fail(f"{folder}: the rows changed after they were written")

    def _fail(self, problem: str) -> AuditError:
        self.failure = AuditError(f"{problem}; run {self.rows.manifest.stage} again")
        return self.failure


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type that every store has."""
    if pa.types.is_fixed_size_list(kind):
        return VECTOR_TYPE
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def columns_to_add(place: str, held: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The columns that a published table lacks; StageError if it differs from tonight's table in anything else.

    held, wanted  names and types of the columns in the target and of tonight's table, in the target's words
    """
    for name, kind in held.items():
        if name not in wanted:
            problem = f"the column {name}, which tonight's table lacks"
        elif wanted[name] != kind:
            problem = f"{name} as {kind}, and tonight's table as {wanted[name]}"
        else:
            continue
        raise StageError(
            f"{place}: the published table has {problem}; nothing is published there; change the column in the "
            "target, or publish to another place"
        )
    return [name for name in wanted if name not in held]
