"""Tables of a lake on an object store: Spark reads and writes them there, by its connector, or in this machine's copy.

Where Spark is local, it works on the copy, and needs no connector. A cluster does not see this machine's disk, so it
works on the objects: below `runs/<date>/.staging/` before a stage commits, and below the table's own prefix afterwards.
"""

import json
import re
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from kgspark.causes import cause_of
from kgspark.errors import StageError
from kgspark.stores.copies import FILES, PLACE, Copy, lakes_around
from kgspark.stores.store import Store, each_at_once
from kgspark.stores.uris import for_spark

# The session's setting that has `spark.store_access`.
ACCESS = "spark.kgspark.store_access"
_WRITTEN = ".spark"


def is_local(session: SparkSession) -> bool:
    """True if Spark has no other machine than the driver's."""
    return bool(re.fullmatch(r"local(\[.*\])?", session.conf.get("spark.master", None) or ""))


def copy_in_store(session: SparkSession, folder: Path) -> Copy | None:
    """The copy that a night's folder is in, if Spark works on the store's objects; None if it works on the folder.

    Raises StageError for a folder of an evaluation, whose lake is never in the store.
    """
    copies = [Copy.of(lake) for lake in lakes_around(folder)]
    if not any(copies) or not _reads_objects(session, in_store=True):
        return None
    if copies[0] is None:
        raise StageError(
            f"{folder}: an evaluation works on this machine's disk, which the cluster does not see; run it with "
            "spark.master=local[*], or with spark.store_access=copy if all executors are on this machine"
        )
    return copies[0]


def reads_objects(session: SparkSession, lake: Path) -> bool:
    """True if Spark reads the objects of a source themselves, and not their copies in a lake.

    Copies in a lake on a disk that all executors see are as good.
    """
    return _reads_objects(session, in_store=Copy.of(lake) is not None)


def _reads_objects(session: SparkSession, in_store: bool) -> bool:
    """in_store  True if the lake is in a store, so that a cluster does not see its copy."""
    access = session.conf.get(ACCESS, None) or "auto"
    return access == "connector" or (access == "auto" and in_store and not is_local(session))


def object_root(session: SparkSession, path: Path) -> tuple[Path, str] | None:
    """If Spark reads the object that a file of the source is a copy of: a folder of copies, and its URI.

    None if it reads the file. Files that a stage has written and not committed are copies, too.
    """
    if (copy := copy_in_store(session, path)) is not None:
        return copy.folder, copy.store.uri
    root = next((above for above in (path, *path.parents) if above.name == FILES and _place(above).exists()), None)
    if root is None or not reads_objects(session, root.parents[2]):
        return None
    return root, str(json.loads(_place(root).read_text(encoding="utf-8"))["uri"])


def spark_path(session: SparkSession, path: Path) -> str:
    """A file or folder for one of Spark's readers, which take a path with one of `[]{}*?\\` for a pattern.

    Spark's writers take a path as it is: to them, give `str(path)`.
    """
    found, place = object_root(session, path), str(path.absolute())
    if found is not None:
        root, uri = found
        place = "/".join([for_spark(uri), *path.relative_to(root).parts])
    return re.sub(r"[][{}*?\\]", r"\\\g<0>", place)


def _place(root: Path) -> Path:
    return root.parent / PLACE


def check_connector(session: SparkSession, night: Path) -> None:
    """StageError if Spark should work on the objects of a store, but has no connector for it, or no rights.

    night  the folder of the night, which is locked
    """
    copy = copy_in_store(session, night)
    if copy is None:
        return
    lease = copy.store.spark_uri(f"leases/{night.name}.json")
    try:
        session.read.text(lease).schema  # noqa: B018  Spark looks if the file is there
    except (PySparkException, Py4JJavaError) as error:
        raise StageError(
            f"{lease}: Spark cannot read the lake's store: {cause_of(error)}; add its connector (for s3a: hadoop-aws "
            "of Spark's Hadoop) and its spark.hadoop.* settings, or set spark.store_access=copy if all executors "
            "are on this machine"
        ) from error


def place_for_tasks(session: SparkSession, folder: Path) -> str:
    """The place of a night's folder, see `stores.shared_folders`; files of a stage that are only here are put there."""
    copy = copy_in_store(session, folder)
    return str(folder) if copy is None else f"{copy.store.uri}/{copy.mirror(folder)}"


def bring_here(session: SparkSession, folder: Path) -> Path:
    """A folder that a stage has written, with the files that tasks have written to the store only."""
    copy = copy_in_store(session, folder)
    if copy is not None:
        copy.bring(folder)
    return folder


def read_stored(session: SparkSession, copy: Copy, folder: Path, options: dict[str, bool]) -> DataFrame:
    """A table, complete or of a stage that has not committed yet. Lazy, but for one footer."""
    prefix = copy.mirror(folder)
    first = next(each.key for each in copy.store.objects(prefix) if each.key.endswith(".parquet"))
    reader = session.read.schema(from_arrow_schema(copy.store.parquet_schema(first)))
    return reader.options(**options).parquet(copy.store.spark_uri(prefix))


def write_stored(writer: DataFrameWriter, copy: Copy, folder: Path) -> tuple[Store, list[str]]:
    """Writes a new folder of a stage as part-00000.parquet, ...; returns its store, and the names by partition."""
    prefix = copy.key_of(folder)
    store, written = copy.store.below(prefix), f"{prefix}/{_WRITTEN}"
    # Some stores keep a folder of which all files were removed, as a mark without content.
    writer.mode("overwrite").parquet(copy.store.spark_uri(written))
    parts = [each.key for each in store.objects(_WRITTEN) if re.search(r"/part-[^/]*\.parquet$", each.key)]
    names = [f"part-{number:05d}.parquet" for number in range(len(parts))]
    each_at_once(lambda part, name: store.copy(part, store, name), parts, names)
    store.remove([each.key for each in store.objects(_WRITTEN)])
    return store, names
