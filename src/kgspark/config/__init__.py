"""Configuration: one YAML file and `dotted.key=value` overrides, decoded once into frozen settings.

Every error gives the origin of the value (file, line and column, or the command line), its dotted key, the expectation,
and the value found.
"""

from kgspark.config.decode import decode, document_with, expectation, from_overrides, load
from kgspark.config.document import Document, apply_override, merged, read_document
from kgspark.config.names import PlainName, SqlName, distinct_names
from kgspark.config.other_programs import OtherSettings, dotted_names, from_environment, refuse_written_secrets
from kgspark.config.paths import IN_FILE
from kgspark.config.settings import OneOf, Settings, is_section, leaf_fields, section_at
from kgspark.config.sql import Sql, SqlQuery, sql_texts

__all__ = [
    "IN_FILE",
    "Document",
    "OneOf",
    "OtherSettings",
    "PlainName",
    "Settings",
    "Sql",
    "SqlName",
    "SqlQuery",
    "apply_override",
    "decode",
    "distinct_names",
    "document_with",
    "dotted_names",
    "expectation",
    "from_environment",
    "from_overrides",
    "is_section",
    "leaf_fields",
    "load",
    "merged",
    "read_document",
    "refuse_written_secrets",
    "section_at",
    "sql_texts",
]
