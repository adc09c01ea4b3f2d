"""The scripts of the page as files: named alike, and without anything that nobody asks for."""

from __future__ import annotations

import re

from image_similarity.web.texts import FILE

_STATIC = FILE.parent / "static"
_SCRIPTS = {path.name: path.read_text("utf-8") for path in _STATIC.glob("*.js")}
_EXPORTED = re.compile(r"^export (?:async )?(?:function|const|class|let) (\w+)", re.MULTILINE)
_IMPORTED = re.compile(r'^import \{([^}]*)\} from "\./([^"]+)";', re.MULTILINE)


def test_every_export_is_imported_somewhere() -> None:
    wanted = {
        (file, name.partition(" as ")[0].strip())
        for script in _SCRIPTS.values()
        for names, file in _IMPORTED.findall(script)
        for name in names.split(",")
    }
    given = {
        (file, name) for file, script in _SCRIPTS.items() for name in _EXPORTED.findall(script)
    }
    assert given, "the scripts are not where they were looked for"
    assert given == wanted


def test_every_import_is_used() -> None:
    for file, script in _SCRIPTS.items():
        body = _IMPORTED.sub("", script)
        for names, _ in _IMPORTED.findall(script):
            for name in names.split(","):
                own = name.strip().rpartition(" as ")[2]
                assert re.search(rf"(?<![\w.]){own}\b", body), (file, own)


def test_files_are_named_in_one_way_and_stay_small() -> None:
    names = [path.name for path in _STATIC.iterdir() if path.is_file()]
    assert [
        name for name in names if not re.fullmatch(r"[a-z]+(-[a-z]+)*\.(js|css|svg)", name)
    ] == []
    assert [file for file, script in _SCRIPTS.items() if script.count("\n") > 350] == []
