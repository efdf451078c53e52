"""The client of a store: credentials, patience, and what its errors mean."""

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kgspark.redaction import hide, is_secret, redact

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# A store that does not answer ends a night after a minute or less. A download may take as long as bytes still arrive.
_CLIENT = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "6h"}
_RETRIES = {"max_retries": 10, "retry_timeout": timedelta(seconds=30)}
# Endpoints on the network itself, such as that of a server for tests, may be reached without TLS only if named so.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
# What to do about an error, by a pattern of its text; the first that matches.
_REMEDIES = (
    (r"169\.254\.169\.254|metadata\.google|NoCredentials", "no credentials; {credentials}"),
    (
        r"NoSuchBucket|ContainerNotFound|bucket does not exist",
        "no such bucket or container; make it, or correct its name",
    ),
    (r"\b40[13] ", "the store refuses this; {credentials}, of a user who may read, list, write and delete there"),
    (r"error sending request|timed out", "the store does not answer; check the network and the endpoint"),
    (r"\b404 ", "the object is missing"),
)
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or give the machine a role",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS in the environment, or give the machine an account",
    "abfss": "set AZURE_STORAGE_ACCOUNT_KEY in the environment, or give the machine an identity",
}
_CLOUDS = ("AWS_", "GOOGLE_", "AZURE_")
# Of the store's own words about an error, in characters.
_SAID = 120


def client_of(uri: str) -> "ObjectStore":
    """The client for the objects below a URI; credentials come from the environment, or from a role of the machine."""
    return _client(uri, tuple(os.environ.get(name, "") for name in _ENDPOINTS))


@lru_cache(maxsize=64)
def _client(uri: str, endpoints: tuple[str, ...]) -> "ObjectStore":
    from obstore.store import from_url

    for name, value in os.environ.items():
        if name.startswith(_CLOUDS) and is_secret(name):
            hide(value)
    plain = any(endpoint.startswith("http://") for endpoint in endpoints)
    client: Any = {**_CLIENT, **({"allow_http": True} if plain else {})}
    retries: Any = _RETRIES
    return from_url(uri, client_options=client, retry_config=retries)


def reason_of(uri: str, error: Exception) -> str:
    """What went wrong with a store and what to do, from an error of many lines."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    remedies = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, text))
    remedy = next(remedies, "the store failed").format(credentials=_CREDENTIALS[uri.partition(":")[0]])
    status = re.search(r"status code: ([^:<]*)", text)
    words = re.findall(r"<(?:Code|Message)>([^<]*)<", text)
    said = ": ".join([status[1].strip(), *words]) if status else text.rpartition("error: ")[2]
    return f"{remedy} ({redact(said)[:_SAID].strip()})"


def lacks_bucket(error: Exception) -> bool:
    """True if not only an object is missing, but also its bucket."""
    return re.search("NoSuchBucket|ContainerNotFound", str(error)) is not None
