"""Target `iceberg`: one Iceberg table per published table, partitioned by `ds`, written by PyIceberg.

A date's rows are replaced on a branch, read back there, and then the branch's snapshot becomes the current one and gets
the date as its tag. All tables are ready on their branches before the first of them changes for readers. The data files
are the table's own: expiring snapshots may delete them.
"""

import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from kgspark.causes import store_cause
from kgspark.config import OtherSettings, PlainName, Settings, from_environment, refuse_written_secrets
from kgspark.errors import StageError
from kgspark.published_schemas import VECTOR_TYPE
from kgspark.runs import Run
from kgspark.tables import PUBLISHABLE, Columns
from kgspark.warehouse.client_errors import one_line, other_writer, packages_of
from kgspark.warehouse.publications import (
    PUBLICATIONS,
    PUBLICATIONS_SCHEMA,
    as_details,
    models_by_date,
    publications_of,
    same_publications,
)
from kgspark.warehouse.table_rows import TableRows, columns_to_add
from kgspark.warehouse.table_store import TableStore

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_MAIN = "main"
_BRANCH = "audit-"
_ROWS_PER_FILE = 1_000_000
_DAY_MS = 24 * 60 * 60 * 1000
# The environment variables by which the other clients of S3 find a store; PyIceberg itself does not read them.
_OF_ENVIRONMENT = {"s3.endpoint": "AWS_ENDPOINT_URL", "s3.region": "AWS_REGION"}
_TYPES = {
    pa.int64(): "long",
    pa.int32(): "int",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
    VECTOR_TYPE: "list<float>",
}


class IcebergSettings(Settings):
    """The target iceberg: Iceberg tables, by PyIceberg (`pip install 'kgspark[iceberg]'`)."""

    catalog: OtherSettings = Field(
        default_factory=dict,
        description="PyIceberg's properties of the catalogue (type, uri, warehouse, s3.endpoint, ...); empty is SQLite "
        "in <lake>/iceberg; ${ENV:NAME} is an environment variable",
    )
    catalog_name: str = Field(
        "kgspark", min_length=1, description="the catalogue's name; SQL catalogues have different tables for each name"
    )
    namespace: PlainName = Field("kgspark", description="the namespace of the tables; it is created if missing")
    tag_days: int | None = Field(
        30, ge=1, description="days after which a date's tag, and so its snapshot, may expire; null keeps all"
    )

    @field_validator("catalog")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_written_secrets(value)
        return value


class IcebergTarget(TableStore):
    """The tables in one namespace. Functions as `Target` says."""

    def __init__(self, settings: IcebergSettings) -> None:
        with packages_of("iceberg"):
            import pyiceberg.catalog.sql  # noqa: F401
        self._settings = settings
        self._properties = from_environment("publish.iceberg.catalog", settings.catalog)

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Prepares each table on a branch, then makes the branches current; an error takes all of it back."""
        publications = publications_of(run, tables)
        if not self.is_there(run, tables):
            with _one_line(self._address()), ExitStack() as undo:
                catalog = self._catalog(run.lake)
                with ExitStack() as branches:
                    ready = [
                        self._prepare(catalog, TableRows(run, table), table in tables, publications, branches)
                        for table in PUBLISHABLE
                    ]
                    for change in filter(None, ready):
                        change.make_current(run.date, self._settings.tag_days, undo)
                self._write_publications(catalog, run, publications)
                undo.pop_all()
            # The contents were read on the branches, and a snapshot does not change.
            if not self._holds(run, tables, contents=False):
                raise StageError(f"{self._address()}: what is read back is not what was written; run publish again")
        return {"namespace": self._settings.namespace, **as_details(publications)}

    def place(self, run: Run, table: str) -> str:
        """The table's name in the catalogue, and the partition."""
        return f"iceberg {self._settings.namespace}.{table} ds={run.date}"

    def held(self, lake: Path) -> Mapping[str, str]:
        """The model of each published date, from `kgspark_published`."""
        with _one_line(self._address()):
            return models_by_date(self._publications(self._catalog(lake)))

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Removes the rows of the dates, in one snapshot per table. Their tags keep them until they expire."""
        condition = f"{Columns.DS} IN ({', '.join(map(repr, dates))})"
        with _one_line(self._address()):
            catalog = self._catalog(lake)
            for name in (PUBLICATIONS, *PUBLISHABLE):
                table = self._load(catalog, name)
                if table is not None and _has_rows(table, condition):
                    table.delete(condition, snapshot_properties={"kgspark.removed": ", ".join(dates)})

    def _address(self, lake: Path | None = None) -> str:
        return f"Iceberg, namespace {self._settings.namespace}"

    def _catalog(self, lake: Path) -> "Catalog":
        """The catalogue of the settings, or else that in the lake, which is made if it is missing."""
        from pyiceberg.catalog import load_catalog

        properties = self._properties
        if not properties:
            folder = lake / "iceberg"
            folder.mkdir(parents=True, exist_ok=True)
            properties = {
                "type": "sql",
                "uri": f"sqlite:///{folder}/catalog.db",
                "warehouse": folder.as_uri(),
            }
        found = {key: os.environ[name] for key, name in _OF_ENVIRONMENT.items() if name in os.environ}
        return load_catalog(self._settings.catalog_name, **found | properties)

    def _load(self, catalog: "Catalog", name: str) -> "Table | None":
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return catalog.load_table((self._settings.namespace, name))
        except NoSuchTableError:
            return None

    def _load_or_create(self, catalog: "Catalog", name: str, schema: pa.Schema) -> "Table":
        """The table; a new one has an empty snapshot, because a branch must start at one."""
        from pyiceberg.exceptions import TableAlreadyExistsError

        found = self._load(catalog, name)
        if found is not None:
            return found
        catalog.create_namespace_if_not_exists(self._settings.namespace)
        identifier = (self._settings.namespace, name)
        try:
            with catalog.create_table_transaction(identifier, schema) as transaction:
                with transaction.update_spec() as spec:
                    spec.add_identity(Columns.DS)
                transaction.append(schema.empty_table())
        except TableAlreadyExistsError:  # another writer was faster
            pass
        return catalog.load_table(identifier)

    def _prepare(
        self, catalog: "Catalog", rows: TableRows, wanted: bool, publications: pa.Table, branches: ExitStack
    ) -> "_Change | None":
        """Replaces a table's date on a new branch, and reads it back there; None if there is nothing to change."""
        date = _is_date(rows.run.date)
        table = self._load_or_create(catalog, rows.table, rows.schema) if wanted else self._load(catalog, rows.table)
        if table is None or (not wanted and not _has_rows(table, date)):
            return None
        if wanted:
            self._add_columns(table, rows)
        version = publications["version"][0].as_py()
        change = _Change.begin(table, version, branches)
        properties = {
            "kgspark.date": rows.run.date,
            "kgspark.model_id": publications[Columns.MODEL_ID][0].as_py(),
            "kgspark.version": version,
            **rows.properties,
        }
        paths = _write_files(table, rows) if wanted else []
        try:
            with table.transaction() as transaction:
                if _has_rows(table, date):
                    transaction.delete(date, snapshot_properties=properties, branch=change.branch)
                if paths:
                    transaction.add_files(paths, properties, check_duplicate_files=False, branch=change.branch)
        except BaseException:
            _remove_files(table, paths)
            raise
        if wanted and _content(table, rows, change.snapshot) != rows.manifest.content:
            raise StageError(f"{self._address()}, table {rows.table}: what is read back is not what was written")
        return change

    def _add_columns(self, table: "Table", rows: TableRows) -> None:
        held = {field.name: str(field.field_type) for field in table.schema().fields}
        wanted = {field.name: _TYPES.get(field.type, str(field.type)) for field in rows.schema}
        added = columns_to_add(f"{self._address()}, table {rows.table}", held, wanted)
        if added:
            with table.update_schema() as schema:
                schema.union_by_name(rows.schema)

    def _write_publications(self, catalog: "Catalog", run: Run, publications: pa.Table) -> None:
        table = self._load_or_create(catalog, PUBLICATIONS, PUBLICATIONS_SCHEMA)
        date = _is_date(run.date)
        with table.transaction() as transaction:
            if _has_rows(table, date):
                transaction.delete(date)
            transaction.append(publications)

    def _publications(self, catalog: "Catalog", where: str | None = None) -> pa.Table:
        table = self._load(catalog, PUBLICATIONS)
        if table is None:
            return PUBLICATIONS_SCHEMA.empty_table()
        return (
            (table.scan(where) if where else table.scan())
            .to_arrow()
            .select(PUBLICATIONS_SCHEMA.names)
            .cast(PUBLICATIONS_SCHEMA)
        )

    def _holds(self, run: Run, tables: Sequence[str], contents: bool) -> bool:
        with _one_line(self._address()):
            catalog = self._catalog(run.lake)
            named = self._publications(catalog, _is_date(run.date))
            return same_publications(named, publications_of(run, tables)) and all(
                self._holds_table(catalog, TableRows(run, table), table in tables, contents) for table in PUBLISHABLE
            )

    def _holds_table(self, catalog: "Catalog", rows: TableRows, wanted: bool, contents: bool) -> bool:
        """True if a table has exactly the night's rows of the date, or none of the date if it is not `wanted`."""
        table, date = self._load(catalog, rows.table), _is_date(rows.run.date)
        if table is None or not wanted:
            return not wanted and (table is None or not _has_rows(table, date))
        if not set(rows.schema.names) <= set(table.schema().column_names):
            return False
        try:
            if contents:
                return _content(table, rows) == rows.manifest.content
            return table.scan(date).count() == rows.manifest.rows
        except (OSError, pa.ArrowException):  # a file is missing or damaged
            return False


class _Change:
    """A change of a table on a branch of its own, so that two writers of a date do not meet there.

    base  the snapshot that was current when the branch began
    """

    def __init__(self, table: "Table", branch: str, base: int) -> None:
        self._table, self.branch, self._base, self._left = table, branch, base, branch

    @classmethod
    def begin(cls, table: "Table", version: str, stack: ExitStack) -> "_Change":
        """A branch of the current snapshot for a version of a night's tables; `stack` removes it."""
        base = table.refs()[_MAIN].snapshot_id
        change = cls(table, f"{_BRANCH}{version}", base)
        table.manage_snapshots().create_branch(base, change.branch).commit()
        stack.callback(change.remove)
        return change

    @property
    def snapshot(self) -> int:
        """The newest snapshot of the branch."""
        return self._table.refs()[self.branch].snapshot_id

    def make_current(self, date: str, tag_days: int | None, undo: ExitStack) -> None:
        """Makes the branch's snapshot the current one, with the date as its tag."""
        audited = self.snapshot
        self._table.refresh()
        if self._table.refs()[_MAIN].snapshot_id != self._base:
            raise other_writer(".".join(self._table.name()))
        changes = self._table.manage_snapshots().set_current_snapshot(audited)
        changes.create_tag(audited, date, tag_days and tag_days * _DAY_MS).commit()
        undo.callback(self._take_back, audited)
        self._left = f"{_BRANCH}{date}"

    def remove(self) -> None:
        """Removes the branch; after success, also those of the date that killed publications have left."""
        from pyiceberg.exceptions import CommitFailedException

        self._table.refresh()
        names = [name for name in self._table.refs() if name.startswith(self._left)]
        changes = self._table.manage_snapshots()
        for name in names:
            changes = changes.remove_branch(name)
        with suppress(CommitFailedException):  # of another writer; the next publication removes the branch
            if names:
                changes.commit()

    def _take_back(self, ours: int) -> None:
        """Makes the earlier snapshot current again, unless another writer has changed the table since."""
        self._table.refresh()
        if self._table.refs()[_MAIN].snapshot_id == ours:
            self._table.manage_snapshots().set_current_snapshot(self._base).commit()


def _is_date(date: str) -> str:
    return f"{Columns.DS} = '{date}'"


def _write_files(table: "Table", rows: TableRows) -> list[str]:
    """Writes a night's rows into new files of the table, which no snapshot has yet; returns their paths."""
    paths: list[str] = []
    batches = rows.stream().batches()
    try:
        for first in batches:
            paths.append(table.location_provider().new_data_location(f"{uuid.uuid4()}.parquet"))
            with (
                table.io.new_output(paths[-1]).create() as stream,
                pq.ParquetWriter(stream, rows.schema, compression="zstd") as writer,
            ):
                written = 0
                for batch in chain([first], batches):
                    writer.write_batch(batch)
                    written += batch.num_rows
                    if written >= _ROWS_PER_FILE:
                        break
    except BaseException:
        _remove_files(table, paths)
        raise
    return paths


def _remove_files(table: "Table", paths: Sequence[str]) -> None:
    for path in paths:
        table.io.delete(path)


def _content(table: "Table", rows: TableRows, snapshot: int | None = None) -> str:
    """The content of the table's rows of the date, read file by file: PyIceberg's own reader may hold them all."""
    from pyiceberg.io.pyarrow import ArrowScan

    scan = table.scan(_is_date(rows.run.date), tuple(rows.schema.names), snapshot_id=snapshot)
    reader = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter)
    return rows.content(batch for file in scan.plan_files() for batch in reader.to_record_batches([file]))


def _has_rows(table: "Table", where: str) -> bool:
    """True if a file of the current snapshot may have such rows; exact for a condition on `ds`."""
    return next(iter(table.scan(where).plan_files()), None) is not None


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Turns an error of PyIceberg, or of the packages below it, into one of ours, of one line."""
    from pyiceberg.exceptions import BadRequestError, CommitFailedException, ValidationException

    with one_line(place, (CommitFailedException, ValidationException), store_cause):
        try:
            yield
        except BadRequestError as error:  # a server that compares the numbers of snapshots before their branches
            if "sequence number" in str(error):
                raise other_writer(place) from error
            raise
