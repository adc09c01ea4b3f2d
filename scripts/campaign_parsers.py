"""Every parser of ours gets mutated files: manifests, hash lists, acquisition lists, heads, groups, tables, cards."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import Row, Settings, Tally
from campaign_mutations import mutated

from image_similarity import Case

MUTATIONS = 5000
AT_ONCE = 250


@dataclass(frozen=True)
class Parser:
    """A parser, the suffix that its files have, and some that are valid."""

    name: str
    suffix: str
    valid: list[bytes]
    read: Callable[[Path], Any]


def run(settings: Settings) -> list[Row]:
    rows = []
    for parser in parsers(settings):
        for number, valid in enumerate(parser.valid):
            sound = settings.work / f"valid-{number}{parser.suffix}"
            sound.write_bytes(valid)
            read = ground.forked(lambda parser=parser, sound=sound: parser.read(sound) and None)
            if read.kind != "done":
                raise SystemExit(f"{parser.name}: the valid file {number} is not read: {read}")
        tally = Tally(
            "parsers", f"{parser.name}: seeded mutations of {len(parser.valid)} valid files"
        )
        left = settings.times(MUTATIONS)
        block = 0
        while left > 0:
            count = min(left, AT_ONCE)
            seed = f"{settings.seed} {parser.name} {block}"

            def work(seed: str = seed, count: int = count, parser: Parser = parser) -> Any:
                return attempts(parser, settings.work / f"mutated{parser.suffix}", seed, count)

            ended = ground.forked(work, longest=900)
            if ended.kind == "done":
                tally.outcomes.update(ended.value)
            else:
                tally.add("", f"{ended.kind} {ended.text}", f"{parser.name}, block {seed!r}")
            left, block = left - count, block + 1
        rows.append(tally.row())
    return rows


def attempts(parser: Parser, path: Path, seed: str, count: int) -> dict[str, int]:
    """Read so many mutations; an error that is not one of ours ends this process."""
    from image_similarity.errors import ImageSimilarityError

    chance = random.Random(seed)
    found = {"read": 0, "refused with a named error": 0}
    for _ in range(count):
        data = mutated(chance.choice(parser.valid), chance)
        if chance.random() < 0.3:
            data = spelled(data, chance)
        path.write_bytes(data)
        try:
            parser.read(path)
            found["read"] += 1
        except ImageSimilarityError as error:
            if "\n" in error.message or len(error.message) > 2000:
                raise ValueError(f"a message of many lines: {error.message[:200]!r}") from error
            found["refused with a named error"] += 1
    return found


def spelled(data: bytes, chance: random.Random) -> bytes:
    """The same with what JSON, CSV and text can hide: deep nesting, huge numbers, other codes, NUL."""
    at = chance.randrange(len(data) + 1)
    piece = chance.choice(
        (
            b"[" * 5000, b"1e999", b"NaN", b"-0", b"9" * 400, b"\0", b"\xef\xbb\xbf", b"\xff\xfe",
            b'"' * 3, b"null", b"true",
        )
    )  # fmt: skip
    return data[:at] + piece + data[at:]


def parsers(settings: Settings) -> list[Parser]:
    from image_similarity.calibration import files, groups
    from image_similarity.encoding import registry
    from image_similarity.records import acquisition, heads, manifest_reading
    from tests.reports.samples import CALIBRATION, TABLE

    model = ground.model_in(settings.work)
    desk = ground.new_desk(settings.work / "parsed", model)
    ground.fill(desk, 4)
    made = ground.forked(lambda: samples(desk, CALIBRATION, TABLE))
    if made.kind != "done":
        raise SystemExit(f"no samples: {made}")
    sample: dict[str, bytes] = made.value
    hashes = sample["hashes"]
    lists = [
        hashes,
        b"\xef\xbb\xbf" + hashes.upper(),
        b"md5,category\n" + b"\n".join(b"%032x,%d" % (n, n) for n in range(9)),
        b'"SHA-1","MD5","CRC32","FileName"\n"%040x","%032x","0","a.jpg"\n' % (7, 8),
        json.dumps(
            {"value": [{"Media": [{"MediaID": 1, "MD5": f"{5:032x}", "Category": 1}]}]}
        ).encode(),
    ]

    def import_list(path: Path) -> None:
        with Case.open(desk.database) as case:
            case.import_hash_list(path, name="fuzzed")
            case.remove_hash_list("fuzzed")

    return [
        Parser("manifests", ".json", [sample["manifest"]], manifest_reading.read),
        Parser("hash lists and VICS-style import", ".csv", lists, import_list),
        Parser("acquisition lists", ".txt", [hashes, sample["hashdeep"]], acquisition.read_list),
        Parser("kept heads of the audit chain", ".json", [sample["head"]], heads.read_head),
        Parser(
            "groups for a calibration",
            ".csv",
            [b"path,group\na.png,1\nb.png,1\n"],
            groups.read_groups,
        ),
        Parser("calibrations", ".json", [sample["calibration"]], files.read_calibration),
        Parser("tables of distances", ".json", [sample["table"]], files.read_table),
        Parser(
            "model cards",
            ".safetensors",
            [model.read_bytes()[:3000]],
            lambda path: registry.get(str(path)),
        ),
    ]


def samples(desk: ground.Desk, calibration: Any, table: Any) -> dict[str, bytes]:
    """Valid files as the program writes them."""
    import subprocess
    import sys

    from image_similarity.calibration import files
    from image_similarity.records import heads

    desk.index()
    folder = desk.folder
    command = [
        sys.executable,
        "-m",
        "image_similarity",
        "query",
        str(desk.evidence / "picture-001.png"),
    ]
    command += ["-dp", str(desk.database), "--manifest", str(folder / "m.json")]
    subprocess.run(command, cwd=ground.ROOT, check=True, capture_output=True)
    with Case.open(desk.database) as case:
        heads.write_head(heads.head(case._catalog), folder / "head.json")
    files.write_calibration(folder / "c.json", calibration)
    files.write_table(folder / "t.json", table)
    digests = [path.read_bytes() for path in sorted(desk.evidence.glob("*.png"))]
    import hashlib

    lines = [hashlib.sha256(data).hexdigest().encode() for data in digests]
    deep = b"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n" + b"".join(
        b"%d,%s,%s,/a/%d.png\n"
        % (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest().encode(), line, n)
        for n, (data, line) in enumerate(zip(digests, lines, strict=True))
    )
    return {
        "manifest": (folder / "m.json").read_bytes(),
        "head": (folder / "head.json").read_bytes(),
        "calibration": (folder / "c.json").read_bytes(),
        "table": (folder / "t.json").read_bytes(),
        "hashes": b"\n".join(lines) + b"\n",
        "hashdeep": deep,
    }
