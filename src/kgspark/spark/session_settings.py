"""Spark's settings of every session of ours, and their values in a session that somebody else has started."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from kgspark.redaction import hide, is_secret
from kgspark.spark.settings import SessionSettings
from kgspark.spark.stored import ACCESS


def defaults() -> dict[str, object]:
    """Settings of every session; the settings of a single session override them."""
    return {
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": sys.stderr.isatty(),
        "spark.sql.session.timeZone": "UTC",
        # Rows that are partitioned by one key of a join need no further shuffle by all of its keys.
        "spark.sql.requireAllClusterKeysForCoPartition": False,
        # Casts and overflows are errors in every Spark version; bad values are read with try_cast.
        "spark.sql.ansi.enabled": True,
        "spark.sql.parquet.compression.codec": "zstd",
        # Few ratings share a second: a dictionary of timestamps would be built, found too large, and dropped.
        "spark.hadoop.parquet.enable.dictionary#timestamp": False,
        "spark.sql.execution.arrow.maxRecordsPerBatch": 100_000,
        "spark.executorEnv.GOMP_SPINCOUNT": "5000",
        # No metastore: it would appear as a folder in the working directory.
        "spark.sql.catalogImplementation": "in-memory",
        # The driver lists the files of a source itself. Spark would start a job with one task per file for it.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": 1_000_000,
        # Times in nanoseconds, as pandas writes them, are read as numbers instead of being an error.
        "spark.sql.legacy.parquet.nanosAsLong": True,
    }


def spark_value(value: object) -> str:
    """A setting's value as Spark's text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def all_settings(settings: SessionSettings) -> dict[str, str]:
    """`defaults` and `spark.conf`, whose secrets are hidden from now on."""
    given = defaults() | {ACCESS: settings.store_access} | settings.resolved_conf()
    values = {key: spark_value(value) for key, value in given.items()}
    for key, value in values.items():
        if is_secret(key):
            hide(value)
    return values


@contextmanager
def set_where_possible(session: SparkSession, settings: SessionSettings) -> Iterator[None]:
    """Sets what a running session lets one set, and puts the former values back at the end."""
    before = {}
    for key, value in all_settings(settings).items():
        if not session.conf.isModifiable(key):
            continue
        try:
            former = session.conf.get(key, None)
            session.conf.set(key, value)
        except PySparkException:  # a setting of the whole cluster, or one that the platform forbids
            continue
        before[key] = former
    try:
        yield
    finally:
        for key, former in before.items():
            if former is None:
                session.conf.unset(key)
            else:
                session.conf.set(key, former)
