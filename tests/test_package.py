"""The package as a whole: public names, light imports, layers, and the wheel that others install."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import image_similarity
from image_similarity import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "image_similarity"
BIN = Path(sys.executable).parent

PROMISED = {
    "Case",
    "ClusterOptions",
    "Failure",
    "Hit",
    "ImageRecord",
    "IndexOptions",
    "ModelInfo",
    "Place",
    "RunReport",
    "SearchResult",
    "__version__",
    "model_names",
}
HEAVY = {"onnx", "onnxruntime", "torch", "torchvision", "sqlalchemy", "alembic"}
HEAVY |= {"fastapi", "starlette", "uvicorn", "pydantic", "psycopg", "pgvector", "ray", "pyarrow"}


def fresh(code: str) -> str:
    """Return what an interpreter that has imported nothing yet prints."""
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)


# --- public names ---------------------------------------------------------------------------


def test_public_names_are_the_promised_list_and_the_error_tree() -> None:
    children = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ImageSimilarityError)
    }
    assert set(image_similarity.__all__) == PROMISED | children
    assert len(image_similarity.__all__) == len(set(image_similarity.__all__))


@pytest.mark.parametrize("name", image_similarity.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(image_similarity, name) is not None
    assert name in dir(image_similarity)


def test_a_name_that_is_not_promised_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        image_similarity.nothing  # noqa: B018 - the access is the test


# --- light imports --------------------------------------------------------------------------


def loaded_heavy(code: str) -> list[str]:
    """Return which heavy libraries an interpreter holds after the code ran."""
    tail = f"print(json.dumps(sorted({HEAVY!r} & set(sys.modules))))"
    last = fresh(f"import json, sys\n{code}\n{tail}").splitlines()[-1]
    return list(json.loads(last))


def test_importing_the_package_and_its_values_loads_nothing_heavy() -> None:
    names = "Hit, RunReport, ImageSimilarityError, __version__"
    assert loaded_heavy(f"from image_similarity import {names}") == []


def test_importing_the_public_class_loads_no_heavy_library() -> None:
    assert loaded_heavy("from image_similarity import Case") == []


@pytest.mark.parametrize("command", ["main", "generate_embeddings"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = f"""
from image_similarity.cli.main import {command}
sys.argv = ["command", "--help"]
try:
    {command}()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_heavy(code) == []


def test_indexing_and_asking_with_a_new_picture_load_no_torch(
    make_folder: Any, tmp_path: Path
) -> None:
    evidence = make_folder(n=2, duplicates=0)
    Image.open(evidence / "picture-000.jpg").rotate(90).save(tmp_path / "new.png")
    code = f"""
from image_similarity import Case
with Case.open({str(tmp_path / "case.db")!r}) as case:
    assert case.index({str(evidence)!r}).new == 2
    assert len(case.search({str(tmp_path / "new.png")!r}, scene="off").hits) == 2
"""
    assert not {"torch", "torchvision", "onnx"} & set(loaded_heavy(code))


# --- sources --------------------------------------------------------------------------------


def test_imports_keep_the_layers() -> None:
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def sources() -> list[Path]:
    return sorted(
        file for folder in (PACKAGE, ROOT / "migrations") for file in folder.rglob("*.py")
    )


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_module_says_its_duty_in_one_line(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, "no docstring"
    first, *rest = docstring.splitlines()
    assert first.endswith((".", ":", "?")), first
    assert not rest or not rest[0], "the first line must stand alone"


def test_no_source_names_a_package_registry() -> None:
    # In two halves, or this file would be the one that names them.
    registries = ("py" + "pi.org", "python" + "hosted", "deb.deb" + "ian.org")
    suffixes = {".py", ".md", ".toml", ".txt", ".sh", ""}
    folders = [
        ROOT / name for name in ("image_similarity", "scripts", "tests", "migrations", "docs")
    ]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in suffixes]
    files += [file for file in ROOT.iterdir() if file.suffix in suffixes]
    named = [
        file
        for file in files
        if file.is_file()
        and any(name in file.read_text(encoding="utf-8", errors="replace") for name in registries)
    ]
    assert named == []


# --- the wheel ------------------------------------------------------------------------------


def load_wheelhouse() -> ModuleType:
    loader = SourceFileLoader("wheelhouse", str(ROOT / "scripts" / "wheelhouse"))
    spec = importlib.util.spec_from_loader("wheelhouse", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from a copy of the sources without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    built: Path = load_wheelhouse().build_own_wheel(folder, "--no-build-isolation")
    return built


def test_the_wheel_holds_all_modules_data_and_migrations_and_nothing_else(wheel: Path) -> None:
    data = [PACKAGE / "py.typed"]
    data += (PACKAGE / "encoding" / "weights").glob("*")
    data += [*(PACKAGE / "golden").glob("*.jpg"), *(PACKAGE / "golden").glob("*.png")]
    data += (PACKAGE / "reports" / "templates").glob("*")
    data += [PACKAGE / "web" / "texts.json", *(PACKAGE / "web" / "templates").glob("*")]
    data += (PACKAGE / "web" / "static").glob("*")
    expected = {
        file.relative_to(ROOT).as_posix()
        for file in [*PACKAGE.rglob("*.py"), *data]
        if "__pycache__" not in file.parts
    }
    migrations = ROOT / "migrations"
    expected |= {
        f"image_similarity/_migrations/{file.relative_to(migrations).as_posix()}"
        for pattern in ("*.py", "versions/*.py", "*.mako", "README*")
        for file in migrations.glob(pattern)
    }
    assert any("versions/0001" in name for name in expected)
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert names == expected
    assert len(licences) == 1


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The commands of our wheel in an environment of its own, which sees our dependencies only."""
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    subprocess.check_call([*pip, "--no-deps", "--no-index", wheel])
    # A folder added in this way is searched last, and its own .pth files (the checkout) are not read.
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    dependencies = sysconfig.get_path("purelib")
    (Path(site.strip()) / "dependencies.pth").write_text(dependencies + "\n", encoding="utf-8")
    yield environment / "bin"


def run(command: Path, *arguments: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_wheel_indexes_queries_and_upgrades_in_a_foreign_folder(
    installed: Path, tiny_model: Path, make_folder: Any, tmp_path: Path
) -> None:
    evidence = make_folder(n=4, duplicates=1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(
        installed / "python", "-c", "import image_similarity as i; print(i.__file__)", cwd=elsewhere
    )
    assert Path(where).is_relative_to(installed.parent), "the checkout was imported"

    umbrella = installed / "image-similarity"
    assert image_similarity.__version__ in run(umbrella, "--version", cwd=elsewhere)
    run(
        installed / "generate_embeddings", "-m", tiny_model, "--scenes", tiny_model,
        "-ip", evidence, "-dp", "case.db",
        cwd=elsewhere,
    )  # fmt: skip
    # A query leaves its own place out, so a copy asks.
    shutil.copy(evidence / "picture-001.png", elsewhere / "query.png")
    answer = run(
        umbrella, "query", "query.png", "-dp", "case.db", "-k", "1", "--format", "json",
        cwd=elsewhere,
    )  # fmt: skip
    hits = [json.loads(line) for line in answer.splitlines()]
    assert [(hit["rank"], hit["relative_path"], hit["identical"]) for hit in hits] == [
        (1, "picture-001.png", True)
    ]
    run(umbrella, "db", "upgrade", "-dp", "case.db", cwd=elsewhere)
