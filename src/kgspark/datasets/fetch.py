"""`kgspark fetch DATASET`: downloads a data set of MovieLens, checks and unpacks it, and writes its configuration.

The folder appears as a whole: after an error, a kill or a full disk, nothing is left under its name.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kgspark.datasets.archives import unpack
from kgspark.datasets.folders import new_folder
from kgspark.datasets.movielens import BASE_URL, DATA_SETS, TERMS, DataSet
from kgspark.errors import ConfigError, InputError, ResourceError
from kgspark.extras import is_installed

VARIABLE = "KGSPARK_FETCH_URL"
_FOLDER = "data"
_TRIES, _TIMEOUT = 3, 60
_RATINGS = ("ratings.csv", "ratings.dat", "u.data")


def run(
    name: str,
    others: Sequence[str],
    say: Callable[[str], None],
    to: str = _FOLDER,
    url: str = "",
) -> dict[str, Any]:
    """Makes `<to>/<name>/` and `<to>/<name>.yaml`; returns both paths.

    Raises ConfigError for an unknown data set or a missing package, InputError if one of the paths exists or if the
    archive is not what was expected, ResourceError if the server cannot be reached.
    """
    name = name.lower().replace("_", "-")
    data_set, base = _known(name), _base(url)
    folder, configuration = Path(to) / name, Path(to) / f"{name}.yaml"
    if configuration.exists():
        raise InputError(f"{configuration}: exists already; remove it, or name another folder: --to FOLDER")
    say(f"{name}: {data_set.about}, from {base}. It {TERMS}.")
    with new_folder(folder) as staging:
        archive = _download(f"{base}/{name}.zip", data_set, staging)
        unpack(archive, staging)
        archive.unlink()
        if not any((staging / each).is_file() for each in _RATINGS):
            raise InputError(f"{name}.zip: it has none of {', '.join(_RATINGS)}, so it is no data set of MovieLens")
    configuration.write_text(_configuration(name, data_set), encoding="utf-8")
    say(f"{folder} is complete, and {configuration} is its configuration. Now run")
    say(f"  kgspark nightly {configuration}")
    return {"folder": str(folder), "configuration": str(configuration)}


def _known(name: str) -> DataSet:
    found = DATA_SETS.get(name)
    if found is None:
        raise ConfigError(f"fetch: unknown data set {name!r}; expected one of {', '.join(DATA_SETS)}")
    if not is_installed("pooch"):
        raise ResourceError("fetch needs the extra fetch: pip install 'kgspark[fetch]'")
    return found


def _base(url: str) -> str:
    base = (url or os.environ.get(VARIABLE) or BASE_URL).rstrip("/")
    if not re.match(r"https?://[^/]", base):
        key = "--url" if url else VARIABLE
        raise ConfigError(f"{key}: expected an address that begins with https:// or http://, found {base!r}")
    return base


def _configuration(name: str, data_set: DataSet) -> str:
    return (
        f"# MovieLens {name}: {data_set.about}. {name}/ has its README with the terms of use.\n"
        "# Paths are relative to this file. `kgspark settings KEY` explains a key.\n"
        f"lake: lake-{name}\nsource:\n  path: {name}\n{data_set.settings}"
    )


def _download(address: str, data_set: DataSet, folder: Path) -> Path:
    """The archive, whose checksum is right; pooch removes what was written if it is not, or if the download breaks."""
    import pooch
    import requests

    logging.getLogger("pooch").setLevel(logging.WARNING)  # it would print the checksum that it found
    pooch.get_logger().setLevel("WARNING")
    checksum = data_set.md5 or _published_md5(f"{address}.md5")
    reader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT)
    for attempt in range(1, _TRIES + 1):
        try:
            place: str = pooch.retrieve(address, f"md5:{checksum}", "archive.zip", folder, downloader=reader)
            return Path(place)
        except ValueError:
            raise InputError(
                f"{address}: the archive is damaged, or is another one: its MD5 is not {checksum}; nothing is kept"
            ) from None
        except requests.RequestException as error:
            if attempt == _TRIES or _is_final(error):
                raise _not_fetched(address, error) from None
    raise AssertionError("every attempt returns or raises")


def _published_md5(address: str) -> str:
    import requests

    try:
        answer = requests.get(address, timeout=_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise _not_fetched(address, error) from None
    found = re.search(r"\b[0-9a-fA-F]{32}\b", answer.text[:1000])
    if found is None:
        raise InputError(f"{address}: expected an MD5 checksum, found {answer.text[:40]!r}")
    return found[0].lower()


def _is_final(error: Any) -> bool:
    """True for an answer that another attempt will not change."""
    return error.response is not None and error.response.status_code < 500


def _not_fetched(address: str, error: Any) -> ResourceError:
    if error.response is not None:
        why = f"the server answers {error.response.status_code} {error.response.reason}"
    else:
        why = f"the server cannot be reached, or the transfer broke off ({type(error).__name__})"
    return ResourceError(f"{address}: {why}; nothing is kept; try again, or name a mirror: --url URL or {VARIABLE}")
