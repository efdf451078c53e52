"""The check for a Java that Spark can use."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from kgspark.errors import ResourceError

JAVA_NEEDED = 17


def check_java() -> str:
    """Path and version of the Java that Spark uses; ResourceError with the package to install if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"Spark needs Java {JAVA_NEEDED} or later; install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME"
    if java is None:
        raise ResourceError(f"no java on the PATH; {advice}")
    try:
        version = _java_version(Path(java))
    except (OSError, subprocess.SubprocessError):
        raise ResourceError(f"{java}: does not start; {advice}") from None
    major = re.match(r"\d+", version)
    if not major or int(major.group()) < JAVA_NEEDED:
        raise ResourceError(f"{java}: Java {version or 'of no version'}; {advice}")
    return f"{java}, version {version}"


def _java_version(java: Path) -> str:
    """From the file `release` of the Java installation, or else from Java itself, which takes a while to start."""
    release = java.resolve(strict=True).parents[1] / "release"
    if release.is_file():
        found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1)
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    found = re.search(r'version "([^"]+)"', answer)
    return found.group(1) if found else ""
