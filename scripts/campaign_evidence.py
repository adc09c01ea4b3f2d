"""The evidence is never written and no network is used: on a read-only mount, a writable one, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import ROOT, Row, Settings, Tally

from image_similarity.pictures import isolate


def run(settings: Settings) -> list[Row]:
    model = ground.model_in(settings.work)
    folder = settings.work / "evidence"
    desk = ground.new_desk(settings.work / "desk", model)
    ground.fill(desk, 6)
    for number, form in enumerate(("tif", "webp", "gif", "jpg", "jp2", "avif")):
        desk.put(f"forms/{number}.{form}", seed=30 + number)
    if settings.odd is not None:
        shutil.copytree(settings.odd, desk.evidence / "odd")
    shutil.move(desk.evidence, folder)
    return [
        writable(settings, folder, model),
        read_only(settings, folder, model),
        without_network(settings, folder, model),
        sockets(settings, folder, model),
    ]


def commands(settings: Settings, evidence: Path, model: Path) -> list[tuple[list[str], int]]:
    """The main paths, and the exit code of each: some files of the evidence are broken."""
    database, picture = settings.work / "case.db", evidence / "picture-001.png"
    database.unlink(missing_ok=True)
    out = settings.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    at = ["-dp", str(database)]
    return [
        (["index", "-m", str(model), "--scenes", str(model), "-ip", str(evidence), *at], 3),
        (
            [
                "index",
                "-m",
                str(model),
                "--scenes",
                str(model),
                "-ip",
                str(evidence),
                "--rehash",
                *at,
            ],
            3,
        ),
        (["refresh", "--retry-failed", *at], 3),
        (["query", str(picture), *at, "--report", str(out / "hits.html")], 0),
        (["query", str(evidence), *at, "--format", "csv"], 3),
        (["show", str(picture), *at], 0),
        (["db", "verify", "--rehash", *at], 0),
        (["runs", "failures", *at], 0),
        (["db", "backup", str(out / "copy.db"), *at], 0),
    ]


def call(arguments: list[str], *before: str) -> tuple[int, str]:
    done = subprocess.run(
        [*before, sys.executable, "-m", "image_similarity", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    return done.returncode, done.stderr[-300:]


def snapshot(folder: Path) -> dict[str, Any]:
    """Every entry with its bytes, times, rights and links; folders with the times that a new file would change."""
    found = {}
    for path in sorted((folder, *folder.rglob("*"))):
        state = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            data, state.st_mtime_ns, state.st_ctime_ns, state.st_mode, state.st_uid, state.st_nlink,
        )  # fmt: skip
    return found


def writable(settings: Settings, folder: Path, model: Path) -> Row:
    before = snapshot(folder)
    tally = Tally(
        "evidence",
        f"main commands over {len(before)} writable entries: bytes, times and names before and after",
    )
    for arguments, code in commands(settings, folder, model):
        found, said = call(arguments)
        problem = "" if found == code else f"exit code {found}: {said}"
        if snapshot(folder) != before:
            problem = "the evidence changed"
        tally.add("nothing changed", problem, " ".join(arguments[:2]))
    return tally.row()


def read_only(settings: Settings, folder: Path, model: Path) -> Row:
    tally = Tally("evidence", "main commands over a read-only bind mount")
    mount = settings.work / "mounted"
    mount.mkdir(exist_ok=True)
    try:
        subprocess.run(["mount", "--bind", folder, mount], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", mount], check=True)
    except subprocess.CalledProcessError:
        return Row("evidence", f"{tally.tried} (not tried: no right to mount)", {})
    try:
        for arguments, code in commands(settings, mount, model):
            found, said = call(arguments)
            problem = "" if found == code else f"exit code {found}: {said}"
            tally.add("done", problem, " ".join(arguments[:2]))
    finally:
        subprocess.run(["umount", mount], check=True)
    return tally.row()


def without_network(settings: Settings, folder: Path, model: Path) -> Row:
    tally = Tally("evidence", "main commands in a network namespace without any interface")
    namespace = ("unshare", "-n", "--")
    if subprocess.run([*namespace, "true"], check=False).returncode:
        return Row("evidence", f"{tally.tried} (not tried: no right to make one)", {})
    for arguments, code in commands(settings, folder, model):
        found, said = call(arguments, *namespace)
        tally.add("done", "" if found == code else f"exit code {found}: {said}", arguments[0])
    return tally.row()


def sockets(settings: Settings, folder: Path, model: Path) -> Row:
    """Not even a try to look up a name or to connect, also of the libraries."""
    tally = Tally("evidence", "main commands with an audit hook that forbids sockets")
    for arguments, code in commands(settings, folder, model):

        def work(arguments: list[str] = arguments) -> int:
            from image_similarity.cli import main

            def forbid(event: str, given: tuple) -> None:
                if event in (
                    "socket.connect",
                    "socket.getaddrinfo",
                    "socket.bind",
                    "socket.sendto",
                ):
                    raise AssertionError(f"{event} {given}")

            sys.addaudithook(forbid)
            with Path(os.devnull).open("w", encoding="utf-8") as null:
                os.dup2(null.fileno(), 1)
                os.dup2(null.fileno(), 2)
            try:
                return main.run(main.cli, arguments, "image-similarity")
            finally:
                isolate.close()

        ended = ground.forked(work)
        problem = "" if ended.value == code else f"{ended}"
        tally.add("no socket was used", problem, arguments[0])
    return tally.row()
