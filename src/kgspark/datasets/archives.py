"""Unpacks a zip archive of tables from a place that need not be trusted."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from kgspark.errors import InputError

_MOST_FILES = 1_000
_MOST_BYTES = 8 << 30
# Text compresses to a tenth or a twentieth. A bomb is a thousand times larger than its archive.
_MOST_TIMES = 200


def unpack(archive: Path, folder: Path) -> None:
    """Writes the files of the archive into `folder`, without the one folder that holds them all.

    Raises InputError for a damaged or encrypted archive, for a name that leads out of the folder, for links and
    devices, and for more or larger files than a data set has. What was written before stays: the caller removes the
    folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [_checked(archive, member) for member in opened.infolist() if not member.is_dir()]
            _check_size(archive, members)
            top = {PurePosixPath(member.filename).parts[0] for member in members}
            strip = 1 if len(top) == 1 and all("/" in member.filename for member in members) else 0
            for member in members:
                path = folder.joinpath(*PurePosixPath(member.filename).parts[strip:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(path, "xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive.name}: the archive cannot be unpacked: {error}") from None


def _checked(archive: Path, member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """InputError for a member that is no file inside of the folder."""
    path = PurePosixPath(member.filename)
    # ZipInfo has cut the name at a NUL; the original name shows what stood there.
    names = (member.filename, member.orig_filename)
    if path.is_absolute() or ".." in path.parts or any("\\" in name or "\0" in name or ":" in name for name in names):
        raise InputError(f"{archive.name}: {member.orig_filename!r} leads out of the folder; nothing is unpacked")
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise InputError(f"{archive.name}: {member.filename!r} is a link or a device; nothing is unpacked")
    if member.flag_bits & 1:
        raise InputError(f"{archive.name}: {member.filename!r} is encrypted; nothing is unpacked")
    return member


def _check_size(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    # zipfile reads no more of a member than the size that its entry says.
    size = sum(member.file_size for member in members)
    if not members:
        raise InputError(f"{archive.name}: the archive has no file")
    if len(members) > _MOST_FILES or size > _limit(archive):
        raise _too_large(archive)


def _limit(archive: Path) -> int:
    return min(_MOST_BYTES, _MOST_TIMES * archive.stat().st_size)


def _too_large(archive: Path) -> InputError:
    return InputError(
        f"{archive.name}: it unpacks to more than {_MOST_FILES:,} files or {_limit(archive):,} bytes, "
        "as no data set does"
    )
