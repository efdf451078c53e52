"""The notebook: every cell runs, in order, and it is kept without outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

from nights import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def _cells() -> list[tuple[str, str]]:
    """Type and source of each cell."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def test_it_has_no_outputs_and_its_code_compiles() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 8
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for kind, source in _cells():
        if kind == "code":
            compile(source, "cell", "exec")


@pytest.mark.extended
def test_every_cell_runs(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("conf", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for kind, source in _cells():
        if kind == "code":
            exec(compile(source, source[:60], "exec"), names)
    assert names["why"].rank == 1
