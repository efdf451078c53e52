"""URIs of places in object stores."""

import re

from kgspark.redaction import redact

# The schemes of URIs, and those that Spark's connectors use for the same places.
SPARK_SCHEMES = {"s3": "s3a", "gs": "gs", "abfss": "abfss"}
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]+)/?(.*)", re.IGNORECASE)


def is_uri(text: str) -> bool:
    """True for a URI such as `s3://bucket/lake`, False for a path, also as `file:///data/lake`."""
    found = _URI.match(text)
    return found is not None and found[1].lower() != "file"


def checked_uri(text: str) -> str:
    """The URI of a place in a store, without a `/` at its end.

    Raises ValueError, for a person, for a scheme that is not known, and for a user or password in it.
    """
    scheme, host, path = _URI.match(text).groups()  # type: ignore[union-attr]
    scheme = {"s3a": "s3", "s3n": "s3", "abfs": "abfss", "gcs": "gs"}.get(scheme.lower(), scheme.lower())
    if scheme not in SPARK_SCHEMES:
        raise ValueError(f"{scheme}:// is not known; expected a path, or one of s3://, gs:// and abfss://")
    if (":" in host.partition("@")[0] and "@" in host) or ("@" in host and scheme != "abfss"):
        raise ValueError(f"a user or password may not stand in {redact(text)}; set the store's environment variables")
    return f"{scheme}://{host}/{path}".rstrip("/")


def for_spark(uri: str) -> str:
    """A URI as Spark's connectors name the same place."""
    scheme, _, rest = uri.partition("://")
    return f"{SPARK_SCHEMES[scheme]}://{rest}"


def bucket_of(uri: str) -> tuple[str, str]:
    """The URI of the bucket, and the path in it."""
    scheme, host, path = _URI.match(uri).groups()  # type: ignore[union-attr]
    return f"{scheme}://{host}", path
