"""Set-up and wheelhouse: one clear line for what is missing, a quick second call, hashes that hold."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_package import ROOT, load_wheelhouse

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what setup_env.sh reads."""
    folder = tmp_path / "checkout"
    (folder / "image_similarity").mkdir(parents=True)
    for name in ("setup_env.sh", "pyproject.toml", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "image_similarity" / "__init__.py", folder / "image_similarity")
    return folder


@pytest.fixture
def pretended(checkout: Path) -> Path:
    """An environment in the checkout whose pip writes down what it is asked and installs nothing."""
    commands = checkout / ".venv" / "bin"
    commands.mkdir(parents=True)
    (checkout / ".venv" / "pyvenv.cfg").touch()
    python = f"""#!/bin/sh
case "$*" in
    *"pip "*" install "*) echo "$@" >>"{checkout}/pip.log"; exit "${{PIP_STATUS:-0}}" ;;
    "-m pip --version") exit 0 ;;
esac
exec "{sys.executable}" "$@"
"""
    for name, text in (
        ("python", python),
        ("image-similarity", '#!/bin/sh\necho "checked $*"\nexit "${CHECK_STATUS:-0}"\n'),
    ):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    return checkout


def setup(checkout: Path, *arguments: str | Path, **variables: str) -> Done:
    environment = {key: value for key, value in os.environ.items() if key != "VENV"}
    return subprocess.run(
        ["sh", checkout / "setup_env.sh", *arguments],
        cwd=checkout.parent,
        env={**environment, **variables},
        capture_output=True,
        text=True,
    )


def asked_of_pip(checkout: Path) -> list[str]:
    log = checkout / "pip.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


# --- setup_env.sh ---------------------------------------------------------------------------


def test_torch_is_installed_first_and_pinned(pretended: Path) -> None:
    done = setup(pretended)
    assert done.returncode == 0, done.stderr
    assert "checked models check builtin" in done.stdout
    first, second = asked_of_pip(pretended)
    assert first.endswith("-c constraints.txt torch==2.13.0")
    assert second.endswith("-c constraints.txt -e .")


def test_a_second_call_installs_nothing(pretended: Path) -> None:
    setup(pretended)
    done = setup(pretended)
    assert done.returncode == 0
    assert "Everything is installed" in done.stdout
    assert len(asked_of_pip(pretended)) == 2


def test_a_changed_pin_installs_again(pretended: Path) -> None:
    setup(pretended)
    with (pretended / "constraints.txt").open("a", encoding="utf-8") as pins:
        pins.write("another==1\n")
    setup(pretended)
    assert len(asked_of_pip(pretended)) == 4


def test_a_failing_pip_is_said_and_tried_again(pretended: Path) -> None:
    done = setup(pretended, PIP_STATUS="1")
    assert done.returncode == 1
    assert done.stderr.startswith("setup_env: pip could not install")
    assert setup(pretended).returncode == 0


def test_a_failing_self_check_is_said_and_heals(pretended: Path) -> None:
    done = setup(pretended, CHECK_STATUS="13")
    assert done.returncode == 1
    assert "self-check failed" in done.stderr
    setup(pretended)
    assert len(asked_of_pip(pretended)) == 4


def test_without_a_new_python_one_line_says_what_to_install(checkout: Path) -> None:
    done = setup(checkout, PYTHON="no-such-python")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "setup_env: no Python 3.11 or later found (no-such-python is none);"
        " on Debian 12: apt-get install python3 python3-venv"
    ]


def test_without_the_venv_module_one_line_names_the_package(checkout: Path) -> None:
    bare = checkout.parent / "bare-python"
    bare.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n',
        encoding="utf-8",
    )
    bare.chmod(0o755)
    done = setup(checkout, PYTHON=str(bare))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"setup_env: {bare} lacks the venv module; on Debian: apt-get install python3-venv"
    ]


def test_a_half_made_environment_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "pyvenv.cfg").touch()
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/longer/there")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = setup(checkout, PYTHON=sys.executable, **nowhere)
    assert "Making the environment .venv" in done.stdout
    # Made, and then stopped by a pip that may not look anywhere.
    assert done.stderr.splitlines()[-1].startswith("setup_env: pip could not install")
    working = [checkout / ".venv" / "bin" / "python", "-m", "pip", "--version"]
    assert subprocess.run(working, capture_output=True).returncode == 0


def test_a_full_disk_is_said_before_anything_is_installed(pretended: Path) -> None:
    stubs = pretended / "stubs"
    stubs.mkdir()
    (stubs / "df").write_text("#!/bin/sh\necho head\necho disk 9000000 8500000 500000 95% /\n")
    (stubs / "df").chmod(0o755)
    done = setup(pretended, PATH=f"{stubs}:{os.environ['PATH']}")
    assert done.returncode == 1
    needed = "setup_env: the installation needs about 2 GB, .venv has 488 MB free"
    assert done.stderr.splitlines() == [needed]
    assert asked_of_pip(pretended) == []


def test_a_folder_that_is_no_environment_is_never_emptied(checkout: Path) -> None:
    mine = checkout / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("keep me", encoding="utf-8")
    done = setup(checkout, VENV="mine")
    assert done.returncode == 1
    assert "is no environment" in done.stderr
    assert (mine / "letter.txt").read_text(encoding="utf-8") == "keep me"


@pytest.mark.parametrize("arguments", [["demmo"], ["--offline"], ["--offline", "missing"]])
def test_wrong_arguments_are_refused_in_one_line(checkout: Path, arguments: list[str]) -> None:
    done = setup(checkout, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_help_says_the_three_ways(checkout: Path) -> None:
    done = setup(checkout, "--help")
    assert done.returncode == 0
    for word in ("setup_env.sh demo", "setup_env.sh test", "--offline DIR"):
        assert word in done.stdout


# --- the wheelhouse -------------------------------------------------------------------------


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """Write a wheel of one empty module."""
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    files = {
        f"{name}.py": "",
        f"{information}/METADATA": metadata,
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record.append(f"{path},sha256={digest.decode()},{len(text)}")
    files[f"{information}/RECORD"] = "\n".join([*record, f"{information}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A wheelhouse of two small packages, one of which needs the other."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "smallone", "1.0+cpu", requires="smalltwo>=1")
    write_wheel(folder, "smalltwo", "1.5")
    load_wheelhouse().write_requirements(folder, ["dev"])
    return folder


def test_requirements_name_version_and_hash_of_every_wheel(house: Path) -> None:
    one, two = sorted(house.glob("*.whl"))
    python, extras, *lines = (house / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert python.startswith(f"# python: {sys.version_info[0]}.{sys.version_info[1]} ")
    assert extras == "# extras: demo dev"
    assert lines == [
        f"smallone==1.0+cpu --hash=sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}",
        f"smalltwo==1.5 --hash=sha256:{hashlib.sha256(two.read_bytes()).hexdigest()}",
    ]


def install(house: Path, target: Path) -> Done:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    offline = ["--no-index", "-f", house, "--require-hashes", "-r", house / "requirements.txt"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return subprocess.run(
        [*pip, *offline, "-t", target],
        env={**environment, "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
    )


def test_the_wheelhouse_installs_by_itself_alone(house: Path, tmp_path: Path) -> None:
    done = install(house, tmp_path / "target")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "smalltwo.py").exists()


def test_an_altered_wheel_is_refused(house: Path, tmp_path: Path) -> None:
    write_wheel(house, "smalltwo", "1.5", requires="os>=0")
    done = install(house, tmp_path / "target")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "target").exists()


def test_two_versions_of_one_package_are_refused(house: Path) -> None:
    write_wheel(house, "smalltwo", "1.6")
    with pytest.raises(SystemExit, match="two versions of smalltwo"):
        load_wheelhouse().write_requirements(house, [])


def test_offline_installs_by_hash_and_then_our_own_wheel(pretended: Path, house: Path) -> None:
    write_wheel(house, "image_similarity", "0.2.0")
    load_wheelhouse().write_requirements(house, ["demo"])
    done = setup(pretended, "--offline", house)
    assert done.returncode == 0, done.stderr
    everything, own = asked_of_pip(pretended)
    assert f"--no-index -f {house} --require-hashes -r {house}/requirements.txt" in everything
    assert "--no-deps --force-reinstall" in own


def test_offline_without_the_developers_tools_refuses_to_test(pretended: Path, house: Path) -> None:
    load_wheelhouse().write_requirements(house, ["demo"])
    done = setup(pretended, "--offline", house, "test")
    assert done.returncode == 1
    assert "lacks what 'dev' needs" in done.stderr


def test_offline_for_another_python_is_refused(pretended: Path, house: Path) -> None:
    list_ = house / "requirements.txt"
    list_.write_text(list_.read_text(encoding="utf-8").replace("# python: 3.", "# python: 9."))
    done = setup(pretended, "--offline", house)
    assert done.returncode == 1
    assert "was made for Python 9." in done.stderr
