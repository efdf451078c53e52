"""A process that publishes, killed before each of its changes to the file system in turn.

    python -m worlds.killed_publication FOLDER

For each change, one lake: model `one` is published, and the publication of model `two` ends before the change, at once
and without any cleaning up. What readers find then, and after the next publication, is checked. It prints the changes.
"""

import os
import shutil
import sys
from itertools import count
from pathlib import Path

from kgspark.runs import Run
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from kgspark.warehouse.folder import FolderWarehouse
from worlds.published import ROWS_PER_FILE, by_folder, by_pointer, listing, rank

DATE = "2026-02-03"
KILLED = 9
FILES = 2
TABLES = {"one": RANKED, "two": RANKED, "three": (RECOMMENDATIONS,)}
WHOLE = {model: {table: [model] * FILES * ROWS_PER_FILE for table in tables} for model, tables in TABLES.items()}
# The next publication, in turn: the same tables again, the earlier ones, others without audiences.
NEXT = ("two", "one", "three")


def main(folder: Path) -> None:
    """Kills at the first change, at the second, and so on, until the publication ends before its kill."""
    # A kill of a process loses nothing that was written; only a loss of power does.
    os.fsync = lambda descriptor: None
    nights = {model: rank(Run(folder / model, DATE), model, tables, FILES) for model, tables in TABLES.items()}
    files.publish(nights["one"], RANKED)
    for number in count():
        run = Run(folder / str(number), DATE)
        shutil.copytree(nights["one"].lake, run.lake, copy_function=os.link)
        use_tables(run, nights["two"])
        change = killed_at(number, run)
        check_readers(run, number)
        model = NEXT[number % len(NEXT)]
        use_tables(run, nights[model])
        if not files.is_there(run, TABLES[model]):
            files.publish(run, TABLES[model])
        check_repaired(run, model)
        shutil.rmtree(run.lake)
        if change is None:
            return
        print(change, flush=True)


def use_tables(run: Run, other: Run) -> None:
    """Gives the night the tables of another one."""
    shutil.rmtree(run.folder)
    shutil.copytree(other.folder, run.folder, copy_function=os.link)


def killed_at(number: int, run: Run) -> str | None:
    """The name of the call at which the publication ended; None if it had fewer calls."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        kill_at(number, write)
        files.publish(run, RANKED)
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with open(read, encoding="utf-8") as stream:
        name = stream.read()
    assert os.waitstatus_to_exitcode(status) == (KILLED if name else 0)
    return name or None


def kill_at(number: int, told: int) -> None:
    """Ends this process before change `number`, from 0. `ctypes.dlopen` stands for the renameat2 that follows it."""
    changes = count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_change(event, arguments) and next(changes) == number:
            os.write(told, f"{event} {arguments[0]}".encode())
            os._exit(KILLED)

    sys.addaudithook(hook)


def is_change(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        return bool(int(arguments[2]) & (os.O_WRONLY | os.O_RDWR))
    return event == "ctypes.dlopen" or (event.startswith("os.") and event not in ("os.listdir", "os.scandir"))


def check_readers(run: Run, number: int) -> None:
    """The pointer leads to one whole version, and each date's folder is there and has one whole table."""
    model, tables = by_pointer(run.lake)
    assert tables == WHOLE[model], (number, model, tables)
    found = by_folder(run)
    assert set(found) == set(RANKED), number
    for table, rows in found.items():
        assert rows in (WHOLE["one"][table], WHOLE["two"][table]), (number, table, rows)
    assert model == "one" or found == WHOLE["two"], f"{number}: the pointer moved before all tables"


def check_repaired(run: Run, model: str) -> None:
    """All places have one model, and nothing is left of the killed publication."""
    assert files.is_there(run, TABLES[model])
    assert by_folder(run) == WHOLE[model]
    assert by_pointer(run.lake) == (model, WHOLE[model])
    assert {path.split("/")[0] for path in listing(run.lake)} <= {"_latest.json", "_versions", *RANKED}
    # The published versions, and that of `two` if the kill came after it was complete.
    assert len(list(FolderWarehouse.of(run.lake).versions.iterdir())) <= len({"one", "two", model})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
