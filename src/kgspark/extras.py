"""The extras of this package: which packages each one installs, and which of them are missing here."""

import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec

# The module of a package where it has another name.
_MODULES = {
    "faiss-cpu": "faiss",
    "adbc-driver-manager": "adbc_driver_manager",
    "adbc-driver-postgresql": "adbc_driver_postgresql",
    "nvidia-ml-py": "pynvml",
    "mlflow-skinny": "mlflow",
    "openlineage-python": "openlineage",
    "prometheus-client": "prometheus_client",
}
# Extras with a package that another one has, too; the smaller one is named.
_LARGER = ("all", "dev", "executor", "connect", "bench")


@cache
def extras() -> dict[str, tuple[str, ...]]:
    """The packages of each extra, by the metadata of the installed kgspark; empty if it is not installed."""
    try:
        required = metadata.requires("kgspark") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for text in required:
        name, extra = re.match(r"[\w.-]+", text), re.search(r"extra == ['\"]([\w-]+)['\"]", text)
        if name and extra and name[0] != "kgspark":
            found.setdefault(extra[1], []).append(name[0])
    return {extra: tuple(names) for extra, names in found.items()}


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [name for name in extras().get(extra, ()) if not is_installed(name)]


def is_installed(package: str) -> bool:
    """True if the package's module can be found; nothing is imported."""
    module = _MODULES.get(package, package.replace("-", "_"))
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def advice_for(module: str) -> str:
    """How to install a missing module: `pip install 'kgspark[train]'`, or the package itself if no extra has it."""
    package = next((name for name, own in _MODULES.items() if own == module), module)
    fitting = [extra for extra, names in extras().items() if package in (name.replace("_", "-") for name in names)]
    fitting = [extra for extra in fitting if extra not in _LARGER] or fitting
    return f"pip install 'kgspark[{fitting[0]}]'" if fitting else f"pip install {package}"
