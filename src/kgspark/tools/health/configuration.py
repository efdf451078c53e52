"""What a configuration needs besides: its source, the lake, packages of targets, connectors, environment variables."""

from collections.abc import Iterator, Sequence
from functools import partial
from glob import glob
from importlib.util import find_spec
from pathlib import Path

from kgspark import config
from kgspark.errors import ConfigError, InputError
from kgspark.extras import extras, missing_packages
from kgspark.night.settings import NightSettings
from kgspark.peers.baselines import check_packages
from kgspark.spark.cleaning.settings import Location
from kgspark.spark.cleaning.source.dialects import find_tables, own_locations, read_layouts
from kgspark.spark.cleaning.source.first_ids import check_first_ids
from kgspark.stores.store import Store
from kgspark.stores.uris import is_uri
from kgspark.tools.health.checks import Check, checked
from kgspark.tools.health.machine import free_disk

# Of a source of one byte, the lake of a night takes a few.
_LAKE_SHARE, _LEAST = 4, 1 << 30
# Readers of Spark that it does not bring along, and the package that has each.
_READERS = {
    "jdbc": "the database's JDBC driver",
    "delta": "io.delta:delta-spark",
    "iceberg": "org.apache.iceberg:iceberg-spark-runtime",
    "avro": "org.apache.spark:spark-avro",
}
# The settings of Spark by which a jar comes to the driver.
_JARS = ("spark.jars", "spark.jars.packages", "spark.driver.extraClassPath")


def configuration_checks(conf: str, overrides: Sequence[str]) -> Iterator[Check]:
    """The checks of one configuration; if it cannot be loaded, this alone is told."""
    try:
        settings = config.load(NightSettings, conf, overrides)
    except ConfigError as error:
        yield Check("configuration", "wrong", str(error))
        return
    yield Check("configuration", "ok", conf)
    yield from checked("source", partial(_source, settings))
    yield from checked("lake", partial(_lake, settings))
    yield from _targets(settings)
    yield from checked("baselines", partial(_baselines, settings))
    yield from checked("Spark", partial(_spark, settings))
    yield from _connectors(settings)


def _source(settings: NightSettings) -> Check:
    if settings.source.by_spark:
        settings.source.resolved_options("source")  # names an environment variable that is not set
        return Check("source", "note", f"Spark opens {settings.source.name}, which is not tried here")
    if is_uri(settings.source.path):
        store = Store("/".join(settings.source.path.split("/")[:3]))
        store.find("kgspark-doctor")  # the answer is that there is none
        return Check("source", "ok", f"{store.uri} answers")
    tables = find_tables(settings.source)
    source = read_layouts(settings.source, tables)
    check_first_ids(settings.source, source)
    files = sum(len(each.files) for each in tables.values())
    size = sum(each.bytes for each in tables.values())
    return Check(
        "source", "ok", f"{settings.source.path}: {', '.join(tables)}; {files:,} files, {size / 2**20:,.1f} MiB"
    )


def _lake(settings: NightSettings) -> Check:
    if settings.store is not None:
        Store(settings.store).objects("leases")
        return free_disk("lake", settings.lake, _LEAST)
    try:
        size = sum(each.bytes for each in find_tables(settings.source).values()) if not settings.source.by_spark else 0
    except InputError:
        size = 0
    return free_disk("lake", settings.lake, _LEAST + _LAKE_SHARE * size)


def _targets(settings: NightSettings) -> Iterator[Check]:
    for name in settings.publish.targets:
        if name in extras() and (missing := missing_packages(name)):
            remedy = f"pip install 'kgspark[{name}]'"
            yield Check("publish.targets", "wrong", f"{name} needs {', '.join(missing)}", remedy)


def _baselines(settings: NightSettings) -> Sequence[Check]:
    check_packages(settings.evaluate.compared)
    return ()


def _spark(settings: NightSettings) -> Sequence[Check]:
    found = settings.spark.resolved_conf()  # names an environment variable that is not set
    jars = [jar for jar in str(found.get("spark.jars", "")).split(",") if jar and ":" not in jar]
    missing = [jar for jar in jars if not glob(jar)]
    return [Check("spark.jars", "wrong", f"{jar}: no such file", "correct spark.conf.spark.jars") for jar in missing]


def _connectors(settings: NightSettings) -> Iterator[Check]:
    has_jars = any(settings.spark.conf.get(key) for key in _JARS)
    locations = dict(own_locations(settings.source).values())
    locations |= {f"source.tables.{name}": table for name, table in settings.source.tables.items()}
    for key, location in locations.items():
        needed = _READERS.get((location.reader or "").lower()) if location.by_spark else None
        if needed and not has_jars:
            found = f"{key}: reader {location.reader} needs {needed}, which Spark does not have"
            yield Check(
                "connector", "wrong", found, f"name its jar in spark.conf.spark.jars, or {_package_hint(location)}"
            )
    if settings.store is not None and not settings.spark.master.startswith("local") and not _has_s3a(has_jars):
        found = f"executors of {settings.spark.master} need Spark's connector for {settings.store.partition(':')[0]}"
        yield Check(
            "connector", "note", found, "add it (for s3: hadoop-aws of Spark's Hadoop), unless the cluster has it"
        )


def _package_hint(location: Location) -> str:
    return (
        "its Maven name in spark.conf.spark.jars.packages"
        if location.reader != "jdbc"
        else "put it beside Spark's own jars"
    )


def _has_s3a(has_jars: bool) -> bool:
    found = find_spec("pyspark")
    jars = Path(found.origin).parent / "jars" if found is not None and found.origin else Path()
    return has_jars or bool(list(jars.glob("hadoop-aws-*.jar")))
