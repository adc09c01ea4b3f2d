"""The notebook runs offline as it is delivered, without outputs, and uses public names only."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import image_similarity

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "similar-images.ipynb"

# Run first: nothing outside of this machine can be asked for. The kernel itself talks through local sockets.
OFFLINE = """
import socket

def refuse(*_, **__):
    raise AssertionError("the notebook uses the network")

socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_output_and_no_path_of_a_machine_is_delivered(notebook: Any) -> None:
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code(notebook))
    assert not re.search(r'["\s](/home|/tmp|/work|/Users|[A-Z]:\\\\)', NOTEBOOK.read_text("utf-8"))


def test_every_part_is_introduced_in_words_and_short(notebook: Any) -> None:
    assert notebook.cells[0].cell_type == "markdown"
    assert all(len(cell.source.splitlines()) <= 45 for cell in notebook.cells)


def test_only_public_names_of_the_package_are_used(notebook: Any) -> None:
    imported, attributes = [], set()
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("image_similarity"):
                imported += [(node.module, alias.name) for alias in node.names]
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("image_similarity") for alias in node.names)
            if isinstance(node, ast.Attribute):
                attributes.add(node.attr)
    assert imported
    assert all(
        module == "image_similarity" and name in image_similarity.__all__
        for module, name in imported
    )
    assert not any(name.startswith("_") and name != "__file__" for name in attributes)


def test_it_runs_from_a_folder_to_answers(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel inherits these: it writes nowhere else, and draws without a screen.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shutil.copyfile(NOTEBOOK, tmp_path / NOTEBOOK.name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(OFFLINE))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    said = "".join(output.get("text", "") for cell in code(notebook) for output in cell.outputs)
    assert "70 new, 0 could not be read" in said
    assert "again: 0 new, 70 unchanged" in said
    assert "coffee/" in said.split("1  ")[1].splitlines()[0]
    neighbours = re.search(r"280 neighbours, (\d+) of them", said)
    assert neighbours
    assert int(neighbours[1]) > 250
    assert "256 -> 16 numbers" in said
    assert "records and files agree: True" in said
    assert "the audit chain is consistent: True" in said
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert not [output for output in outputs if output.get("name") == "stderr"]
    (page,) = tmp_path.glob("similar-images-*/map.html")
    assert page.stat().st_size > 10_000
