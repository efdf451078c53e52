"""Target `delta`: one Delta Lake table per published table, partitioned by `ds`, written by deltalake.

A table's rows of a date are replaced in one commit. The tables of a night are committed one after the other, and then
`kgspark_published` (see `publications`); an error takes back the commits of this publication.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
from pydantic import Field, field_validator

from kgspark.causes import store_cause
from kgspark.config import IN_FILE, OtherSettings, Settings, from_environment, refuse_written_secrets
from kgspark.errors import StageError
from kgspark.runs import Run
from kgspark.stores.copies import address_in
from kgspark.tables import PUBLISHABLE, Columns
from kgspark.warehouse.client_errors import other_writer, packages_of, refused
from kgspark.warehouse.publications import (
    PUBLICATIONS,
    PUBLICATIONS_SCHEMA,
    as_details,
    models_by_date,
    publications_of,
    same_publications,
)
from kgspark.warehouse.table_rows import Stream, TableRows, columns_to_add
from kgspark.warehouse.table_store import TableStore

if TYPE_CHECKING:
    from deltalake import DeltaTable


# How long a request may take, by deltalake's names. By its defaults, each request to a store that does not answer takes
# three minutes. A store that is busy is asked again for a minute.
_PATIENCE = {"connect_timeout": "5s", "timeout": "30s", "retry_timeout": "60s"}


class DeltaSettings(Settings):
    """The target delta: Delta Lake tables, by deltalake (`pip install 'kgspark[delta]'`)."""

    path: Annotated[str | None, IN_FILE] = Field(
        None, description="folder or URI (s3://, gs://, abfss://) of the tables; null is <lake>/delta"
    )
    storage_options: OtherSettings = Field(
        default_factory=dict,
        description="options of the object store, by deltalake's names; ${ENV:NAME} is an environment variable",
    )

    @field_validator("storage_options")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_written_secrets(value)
        return value


class DeltaTarget(TableStore):
    """The tables below one path. Functions as `Target` says."""

    def __init__(self, settings: DeltaSettings) -> None:
        with packages_of("delta"):
            import deltalake  # noqa: F401
        self._settings = settings
        self._options = _PATIENCE | from_environment("publish.delta.storage_options", settings.storage_options)

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Writes the tables one after the other, then what is published; an error takes all of it back."""
        publications = publications_of(run, tables)
        if not self.is_there(run, tables):
            with ExitStack() as undo:
                for table in PUBLISHABLE:
                    if table in tables:
                        self._write(TableRows(run, table), publications, undo)
                    else:
                        self._remove(self._path(run.lake, table), [run.date], undo)
                self._write_publications(run, publications, undo)
                if not self._holds(run, tables, contents=True):
                    raise StageError(
                        f"{self._address(run.lake)}: what is read back is not what was written; "
                        "nothing is published there"
                    )
                undo.pop_all()
        return {"path": self._address(run.lake), **as_details(publications)}

    def place(self, run: Run, table: str) -> str:
        """The path of the Delta table, and the partition."""
        return f"{self._path(run.lake, table)} ds={run.date}"

    def held(self, lake: Path) -> Mapping[str, str]:
        """The model of each published date, from `kgspark_published`."""
        return models_by_date(self._publications(lake))

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Removes the rows of the dates, in one commit per table. The history of the tables keeps them."""
        with ExitStack() as undo:
            for table in (PUBLICATIONS, *PUBLISHABLE):
                self._remove(self._path(lake, table), dates, undo)
            undo.pop_all()

    def _address(self, lake: Path) -> str:
        return (self._settings.path or address_in(lake, "delta")).rstrip("/")

    def _path(self, lake: Path, table: str) -> str:
        return f"{self._address(lake)}/{table}"

    def _open(self, path: str) -> "DeltaTable | None":
        """The newest version of a table; None if there is no table."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with _one_line(path), suppress(TableNotFoundError):
            return DeltaTable(path, storage_options=self._options)
        return None

    def _open_or_create(self, path: str, schema: pa.Schema) -> "DeltaTable":
        """The newest version of a table; an empty one without one, so that there is a version that another may change.

        Of two writers that create a table with their rows, deltalake lets both win.
        """
        from deltalake import DeltaTable

        found = self._open(path)
        if found is not None:
            return found
        with _one_line(path):
            return DeltaTable.create(
                path, schema, mode="ignore", partition_by=[Columns.DS], storage_options=self._options
            )

    def _write(self, rows: TableRows, publications: pa.Table, undo: ExitStack) -> None:
        """Replaces the rows of a table's date by the night's, in one commit."""
        path, stream = self._path(rows.run.lake, rows.table), rows.stream()
        table = self._open_or_create(path, rows.schema)
        added = columns_to_add(path, _types(_columns(table)), _types(rows.schema))
        metadata = {
            "kgspark.date": rows.run.date,
            "kgspark.model_id": publications[Columns.MODEL_ID][0].as_py(),
            "kgspark.version": publications["version"][0].as_py(),
            **rows.properties,
        }
        before = table.version()
        with _one_line(path, stream):
            self._replace(table, stream.reader, rows.run.date, metadata, bool(added))
        undo.callback(self._take_back, path, before)

    def _write_publications(self, run: Run, publications: pa.Table, undo: ExitStack) -> None:
        path = self._path(run.lake, PUBLICATIONS)
        table = self._open_or_create(path, PUBLICATIONS_SCHEMA)
        before = table.version()
        with _one_line(path):
            self._replace(table, publications, run.date, {"kgspark.date": run.date})
        undo.callback(self._take_back, path, before)

    def _replace(
        self, table: "DeltaTable", data: Any, date: str, metadata: dict[str, str], widen: bool = False
    ) -> None:
        """Replaces the rows of a date; CommitFailedError if another writer did so after `table` was opened."""
        from deltalake import CommitProperties, write_deltalake

        write_deltalake(
            table,
            data,
            mode="overwrite",
            predicate=_is_date(date),
            partition_by=[Columns.DS],
            schema_mode="merge" if widen else None,
            commit_properties=CommitProperties(custom_metadata=metadata),
        )

    def _remove(self, path: str, dates: Collection[str], undo: ExitStack) -> None:
        """Removes the rows of some dates, if there are any."""
        from deltalake import CommitProperties

        table, predicate = self._open(path), f"{Columns.DS} IN ({', '.join(map(repr, dates))})"
        if table is not None and table.partitions(file_pruning_predicate=predicate):
            before = table.version()
            with _one_line(path):
                metadata = {"kgspark.removed": ", ".join(dates)}
                table.delete(predicate, commit_properties=CommitProperties(custom_metadata=metadata))
            undo.callback(self._take_back, path, before)

    def _take_back(self, path: str, version: int) -> None:
        """Makes the version before this publication the newest one, unless another writer has committed since."""
        table = self._open(path)
        if table is not None and table.version() == version + 1:
            with _one_line(path):
                table.restore(version)

    def _publications(self, lake: Path, predicate: str | None = None) -> pa.Table:
        table = self._open(self._path(lake, PUBLICATIONS))
        if table is None:
            return PUBLICATIONS_SCHEMA.empty_table()
        with _one_line(self._path(lake, PUBLICATIONS)):
            return _scan(table, predicate).read_all().select(PUBLICATIONS_SCHEMA.names).cast(PUBLICATIONS_SCHEMA)

    def _holds(self, run: Run, tables: Sequence[str], contents: bool) -> bool:
        named = self._publications(run.lake, _is_date(run.date))
        return same_publications(named, publications_of(run, tables)) and all(
            self._holds_table(TableRows(run, table), table in tables, contents) for table in PUBLISHABLE
        )

    def _holds_table(self, rows: TableRows, wanted: bool, contents: bool) -> bool:
        """True if a table has exactly the night's rows of the date, or none of the date if it is not `wanted`."""
        from deltalake.exceptions import DeltaError

        table, date = self._open(self._path(rows.run.lake, rows.table)), _is_date(rows.run.date)
        if table is None or not wanted:
            return not wanted and (table is None or not table.partitions(file_pruning_predicate=date))
        if not set(rows.schema.names) <= set(_columns(table).names):
            return False
        try:
            if contents:
                return rows.content(_scan(table, date)) == rows.manifest.content
            # Of the partition's column alone, so only the footers of the files are read.
            return sum(batch.num_rows for batch in _scan(table, date, [Columns.DS])) == rows.manifest.rows
        except (DeltaError, OSError, pa.ArrowException):  # a file is missing or damaged
            return False


def _is_date(date: str) -> str:
    return f"{Columns.DS} = '{date}'"


def _scan(table: "DeltaTable", predicate: str | None, columns: list[str] | None = None) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_stream(table.scan(columns, predicate))


def _columns(table: "DeltaTable") -> pa.Schema:
    return pa.schema(table.schema().to_arrow())


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


@contextmanager
def _one_line(path: str, stream: Stream | None = None) -> Iterator[None]:
    """Turns an error of deltalake into one of ours, of one line."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError as error:
        raise other_writer(path) from error
    except (DeltaError, OSError) as error:
        if stream is not None and stream.failure is not None:
            raise stream.failure from error
        raise refused(path, error, store_cause) from error
