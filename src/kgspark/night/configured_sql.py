"""Checks all SQL of a configuration at once, before any of it is used."""

from typing import TYPE_CHECKING

from kgspark.config import sql_texts
from kgspark.night.settings import NightSettings
from kgspark.tables import CLEAN

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


def check_configured_sql(session: "SparkSession", settings: NightSettings) -> None:
    """ConfigError, with its dotted key, for the first text that reaches more than declared tables."""
    from kgspark.spark.sql_safety import tables_in_sql

    for key, text, mark in sql_texts(settings):
        tables_in_sql(session, key, text, [*CLEAN, *settings.source.tables] if mark.queries else [])
