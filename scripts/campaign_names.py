"""Hostile names and metadata through every output: terminal, CSV, JSON and HTML; and what differs in case only."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import campaign_ground as ground
from campaign_ground import ROOT, Row, Settings, Tally
from PIL import Image

PIECES = [
    b"=cmd|' /C calc'!A0", b"+1+1", b"-rf", b"@SUM(1)", b"\t=1", b";=1+1", b'"', b"'", b"\\", b"\n", b"\r",
    b"\x1b[31m", b"\x1b]0;title\x07", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xe2\x81\xa6",
    b"\xe2\x80\x8f", b"\xc2\x85", b"<script>alert(1)<", b"<img src=x onerror=alert(1)>", b"\" onclick=\"x",
    b"'>", b"&lt;", b"javascript:x", b"{{7*7}}", b"%s%n", b"$(id)", b"`id`", b"--help", b" ", b".", b"x" * 200,
    b"NUL", b"\xcc\x81", b"e\xcc\x81", b"\xc3\xa9", b"A", b"a", b"'; DROP TABLE file; --", b"\xf0\x9f\x94\xa5",
    b"*?[", b"%2e%2e", b"~", b"#",
]  # fmt: skip
DECEPTIVE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
FILES = 25


def run(settings: Settings) -> list[Row]:
    tally = Tally("names", f"folders of {FILES} hostile names and EXIF texts, through every output")
    for number in range(settings.times(40)):
        problem = one_folder(settings, number)
        tally.add(
            "shown escaped, found again, unchanged by a second run", problem, f"folder {number}"
        )
    return [tally.row(), case_only(settings)]


def hostile_name(chance: random.Random) -> bytes:
    while True:
        parts = [chance.choice(PIECES).replace(b"/", b"") for _ in range(chance.randint(1, 4))]
        name = b"".join(parts)[:251] + chance.choice((b".png", b".PNG", b""))
        if name not in (b"", b".", b".."):
            return name


def one_folder(settings: Settings, number: int) -> str:
    chance = random.Random(f"{settings.seed} {number}")
    model = ground.model_in(settings.work)
    desk = ground.new_desk(settings.work / "hostile", model)
    names = {hostile_name(chance) for _ in range(FILES)}
    for seed, name in enumerate(sorted(names)):
        exif = Image.Exif()
        exif[0x010F] = os.fsdecode(chance.choice(PIECES)).encode("utf-8", "replace").decode()
        exif[0x0131] = "<script>alert(1)</script>"
        path = desk.evidence / os.fsdecode(name)
        path.write_bytes(ground.picture_bytes("PNG", seed=seed, exif=exif))
        os.utime(path, ns=(10**18, 10**18))
    desk.put("query.png", seed=999)
    ended = ground.forked(lambda: (desk.index().new, desk.index().unchanged))
    if ended.value != (len(names) + 1, len(names) + 1):
        return f"{ended} instead of {len(names) + 1}"
    wrong = [outputs(desk, ["query.png", *sorted(map(os.fsdecode, names))[:2]])]
    return "; ".join(each for each in wrong if each)


def outputs(desk: ground.Desk, asked: list[str]) -> str:
    """Every form of output of some queries; "" if none can deceive, break out or lie about the rows."""
    at = ["-dp", str(desk.database)]
    page = desk.folder / "page.html"
    for name in asked:
        query = str(desk.evidence / name)
        common = ["query", *at, "-k", "99", "--scene", "off"]
        texts = {}
        for form in ("table", "json", "csv"):
            done = called([*common, "--format", form, "--", query])
            if done.returncode:
                return f"{form} of {name!r}: exit code {done.returncode} {done.stderr[-200:]!r}"
            texts[form] = done.stdout.decode("utf-8")
        done = called([*common, "--report", str(page), "--", query])
        if done.returncode:
            return f"HTML of {name!r}: exit code {done.returncode} {done.stderr[-200:]!r}"
        wrong = wrong_text(texts) or wrong_page(page.read_text("utf-8"))
        page.unlink()
        if wrong:
            return f"{wrong} ({name!r})"
    return ""


def called(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "image_similarity", *arguments],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip


def wrong_text(texts: dict[str, str]) -> str:
    for form in ("table", "csv"):
        found = DECEPTIVE.search(texts[form])
        if found:
            return f"{form} holds {found.group()!r}"
    hits = [json.loads(line) for line in texts["json"].splitlines()]
    rows = list(csv.reader(io.StringIO(texts["csv"])))
    if len({len(row) for row in rows}) != 1:
        return "rows of CSV of several lengths"
    cells = [cell for row in rows[1:] for cell in row]
    formulas = [cell for cell in cells if re.match(r"[=+@\t\r]|-(?![\d.])", cell)]
    if formulas:
        return f"a formula in CSV: {formulas[0]!r}"
    return "" if hits else "no JSON"


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").lower().startswith("javascript:"):
                self.wrong.append(f"{tag} {name}={value}")


def wrong_page(text: str) -> str:
    page = Page()
    page.feed(text)
    if "script" in page.tags or "iframe" in page.tags:
        return "a script in HTML"
    found = re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f]", text)
    return page.wrong[0] if page.wrong else (f"HTML holds {found.group()!r}" if found else "")


def case_only(settings: Settings) -> Row:
    tally = Tally("names", "renames in case only, and to what Unicode composes alike")
    for number, (old, new) in enumerate(
        (("Photo.JPG", "photo.jpg"), ("a/B.png", "A/b.png"), ("e\u0301.png", "\u00e9.png"))
    ):
        desk = ground.new_desk(settings.work / "renamed", ground.model_in(settings.work))
        desk.put("kept.png", seed=50)
        before = desk.put(old, seed=number)
        ground.forked(desk.index)
        after = desk.evidence / new
        after.parent.mkdir(exist_ok=True)
        before.rename(after)
        ended = ground.forked(
            lambda desk=desk: (lambda r: (r.moved, r.gone, r.failed))(desk.index())
        )
        fine = ended.value == (1, 1, 0) and new in desk.live() and old not in desk.live()
        tally.add("known as moved", "" if fine else f"{ended} {Path(new)}")
    return tally.row()
