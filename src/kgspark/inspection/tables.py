"""The tables that a file or a folder has: files with the same columns are one table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kgspark.errors import InputError
from kgspark.inspection.samples import Sample, read_sample
from kgspark.spark.cleaning.source.files import find_files

# So many files of a folder are looked at; the others are taken to be like their neighbours.
_MOST_FILES = 500


@dataclass(frozen=True)
class Table:
    """Files with the same columns.

    path    what a configuration names: the file, a folder, or a pattern
    files   the files
    sample  the first rows of the first file
    """

    path: Path
    files: tuple[Path, ...]
    sample: Sample

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files)


def find_tables(path: str) -> tuple[list[Table], dict[str, str]]:
    """The tables below `path`, the largest first, and the reason why other files are none, by their names.

    Raises InputError if there is no file, or if a single file is no table.
    """
    found = find_files(path, "kgspark init looks at a file or a folder")
    samples: dict[Path, Sample] = {}
    refused: dict[str, str] = {}
    for file in found.files[:_MOST_FILES]:
        try:
            samples[file] = read_sample(file)
        except InputError as error:
            if len(found.files) == 1:
                raise
            refused[found.name(file)] = str(error).removeprefix(f"{file}: ")
    groups: dict[tuple[object, ...], list[Path]] = {}
    for file, sample in samples.items():
        groups.setdefault(_shape(file, sample), []).append(file)
    if len(groups) == 1 and not refused:
        groups = {key: list(found.files) for key in groups}
    tables = [
        Table(_place(Path(path), files, found.files), tuple(files), samples[files[0]]) for files in groups.values()
    ]
    return sorted(tables, key=lambda table: -table.bytes), refused


def _shape(file: Path, sample: Sample) -> tuple[object, ...]:
    """Equal for the files of one table."""
    if sample.kind == "json":  # writers leave out keys without a value, so the keys differ from file to file
        return sample.kind, re.sub(r"[\d_-]+", "", file.name.split(".")[0])
    return sample.kind, sample.separator, sample.header or tuple(sample.columns)


def _place(given: Path, files: Sequence[Path], all_files: Sequence[Path]) -> Path:
    """A file, folder or pattern that has exactly these files."""
    if not given.is_dir():
        return given
    root, here = given.absolute(), set(files)
    if len(files) == len(all_files):
        return given if len(files) > 1 else given / files[0].relative_to(root)
    if len(files) == 1:
        return given / files[0].relative_to(root)
    for folder in reversed([parent for parent in files[0].parents if parent.is_relative_to(root) and parent != root]):
        if "=" not in folder.name and {file for file in all_files if file.is_relative_to(folder)} == here:
            return given / folder.relative_to(root)
    names = [file.name for file in files]
    start = next((n for n, chars in enumerate(zip(*names, strict=False)) if len(set(chars)) > 1), 0)
    pattern = f"{names[0][:start]}*{''.join(files[0].suffixes)}"
    if {*files[0].parent.glob(pattern)} == here:
        return given / files[0].parent.relative_to(root) / pattern
    return given / files[0].relative_to(root)
