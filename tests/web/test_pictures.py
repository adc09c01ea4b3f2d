"""Pictures: small and large ones, where the small ones are kept, and what is never shown."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.errors import UsageError
from image_similarity.pictures import decode, ordinary
from image_similarity.web import kept
from image_similarity.web.desk import Desk
from image_similarity.web.options import ServeOptions
from tests.cli import conftest as commands
from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture
from tests.web.conftest import Serve, Served, running

run = commands.run


def size_of(answer: httpx.Response) -> tuple[int, int]:
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG"
        assert not picture.getexif()
        return picture.size


def files_of(served: Served) -> list[Path]:
    folder = served.desk.thumbnails.extent().folder
    assert folder is not None
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def own(gallery: Made, tmp_path: Path, run: Run) -> Iterator[Served]:
    """A page over pictures that a test may change."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(3):
        draw_picture(number, (900, 700)).save(folder / f"{number}.jpg")
        os.utime(folder / f"{number}.jpg", (1_600_000_000, 1_600_000_000))
    database = tmp_path / "own.db"
    assert run(*index_arguments(folder, database, gallery.model)).code == 0
    options = ServeOptions(database, port=0, cache=tmp_path / "cache")
    with running(options, Made(folder, database, gallery.model)) as served:
        yield served


def test_a_thumbnail_is_no_longer_than_was_asked_for_and_a_picture_neither(own: Served) -> None:
    with own.client() as client:
        first = own.hashes()[0]
        assert size_of(client.get(f"/pictures/{first}/thumbnail?side=128")) == (128, 100)
        assert size_of(client.get(f"/pictures/{first}/picture?side=512")) == (512, 398)
        assert size_of(client.get(f"/pictures/{first}/picture")) == (900, 700)


def test_browsers_may_keep_thumbnails_and_ask_whether_theirs_is_still_good(
    client: httpx.Client, served: Served
) -> None:
    address = f"/pictures/{served.hashes()[0]}/thumbnail"
    answer = client.get(address)
    assert answer.headers["Cache-Control"] == "private, max-age=86400, immutable"
    tag = answer.headers["ETag"]
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert client.get(f"{address}?side=64", headers={"If-None-Match": tag}).status_code == 200


def test_large_pictures_are_kept_nowhere(client: httpx.Client, served: Served) -> None:
    answer = client.get(f"/pictures/{served.hashes()[0]}/picture")
    assert answer.headers["Cache-Control"] == "no-store"
    assert files_of(served) == []


def test_a_thumbnail_is_made_once(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/pictures/{served.hashes()[0]}/thumbnail"
    first = client.get(address).content
    assert len(files_of(served)) == 1
    monkeypatch.setattr(Case, "shown_small", lambda *_, **__: pytest.fail("made again"))
    assert client.get(address).content == first


def test_kept_thumbnails_are_the_owner_s_alone(client: httpx.Client, served: Served) -> None:
    client.get(f"/pictures/{served.hashes()[0]}/thumbnail")
    (file,) = files_of(served)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_folder_is_on_record_before_anything_is_kept_there(
    client: httpx.Client, served: Served, run: Run
) -> None:
    database = served.options.database
    told = ("case", "traces", "-dp", database, "--format", "json")
    assert run(*told).objects()[0]["folders"] == []
    for sha256 in served.hashes()[:3]:
        client.get(f"/pictures/{sha256}/thumbnail")
    (folder,) = run(*told).objects()[0]["folders"]
    found = client.get("/cache").json()
    assert folder["path"] == found["folder"] and folder["files"] == found["files"] == 3
    assert (
        folder["bytes"] == found["bytes"] == sum(each.stat().st_size for each in files_of(served))
    )
    assert "of the page 3 thumbnails" in run("case", "traces", "-dp", database).out
    assert run("audit", "verify", "-dp", database).code == 0


def test_kept_thumbnails_are_purged_by_the_page_and_by_the_command(
    client: httpx.Client, served: Served, run: Run
) -> None:
    address = f"/pictures/{served.hashes()[0]}/thumbnail"
    client.get(address)
    assert client.delete("/cache").json()["files"] == 1
    assert files_of(served) == []
    assert client.get(address).status_code == 200
    beside = files_of(served)[0].parent / "somebody's letter"
    beside.write_text("not ours")
    purged = run("case", "purge-thumbnails", "-dp", served.options.database)
    assert purged.out == "0 thumbnails deleted\n1 thumbnail of the page deleted\n"
    assert files_of(served) == [beside]
    assert client.get(address).status_code == 200


def test_least_recently_used_thumbnails_go_when_there_are_too_many(serve: Serve) -> None:
    served = serve(most_cached=30_000)
    with served.client() as client:
        first, *others = served.hashes()
        for sha256 in others:
            client.get(f"/pictures/{sha256}/thumbnail")
            client.get(f"/pictures/{first}/thumbnail")
            for file in files_of(served):
                if file.name.startswith(first):
                    os.utime(file)
                else:
                    os.utime(file, (file.stat().st_mtime - 60,) * 2)
    files = files_of(served)
    assert sum(each.stat().st_size for each in files) <= 30_000
    assert 1 < len(files) < len(others)
    assert any(each.name.startswith(first) for each in files)


@pytest.mark.parametrize("hostile", ["markup", "cut", "other", "link", "pipe", "folder", "large"])
def test_what_somebody_put_into_the_folder_is_not_sent(
    client: httpx.Client, served: Served, hostile: str, tmp_path: Path
) -> None:
    one, other = (f"/pictures/{each}/thumbnail" for each in served.hashes()[:2])
    good = client.get(one).content
    (file,) = files_of(served)
    client.get(other)
    (strange,) = set(files_of(served)) - {file}
    whole = file.read_bytes()
    file.unlink()
    if hostile == "markup":
        file.write_text("<script>alert(1)</script>")
    elif hostile == "cut":
        file.write_bytes(whole[:-100])
    elif hostile == "other":
        shutil.copy(strange, file)
    elif hostile == "link":
        (tmp_path / "secret").write_bytes(whole)
        file.symlink_to(tmp_path / "secret")
    elif hostile == "pipe":
        os.mkfifo(file)
    elif hostile == "folder":
        file.mkdir()
    else:
        with file.open("wb") as stream:
            stream.truncate(2**30)
    assert client.get(one).content == good
    if hostile != "folder":
        assert not file.is_symlink() and file.read_bytes() == whole


def test_a_file_that_holds_another_picture_now_is_never_shown(own: Served) -> None:
    with own.client() as client:
        replaced, removed, _ = own.hashes()
        draw_picture(77, (900, 700)).save(own.made.folder / "0.jpg")
        (own.made.folder / "1.jpg").unlink()
        for kind in ("thumbnail", "picture"):
            answer = client.get(f"/pictures/{replaced}/{kind}")
            assert answer.status_code == 404
            assert "the file there is another now" in answer.json()["error"]["message"]
            answer = client.get(f"/pictures/{removed}/{kind}")
            assert answer.status_code == 404
            assert "No such file" in answer.json()["error"]["message"]
        assert client.get(f"/pictures/{'0' * 64}/thumbnail").status_code == 404
        assert files_of(own) == []


def test_a_stored_thumbnail_stands_in_where_the_evidence_is_gone(own: Served, run: Run) -> None:
    run(*index_arguments(own.made.folder, own.made.database, own.made.model), "--thumbnails")
    with own.client() as client:
        first = own.hashes()[0]
        (own.made.folder / "0.jpg").unlink()
        assert size_of(client.get(f"/pictures/{first}/thumbnail?side=256")) == (256, 199)
        smaller = client.get(f"/pictures/{first}/thumbnail?side=512")
        assert size_of(smaller) == (256, 199)
        assert smaller.headers["Cache-Control"] == "no-store", "all there is for now"
        assert client.get(f"/pictures/{first}/picture").status_code == 404
        assert len(files_of(own)) == 1


def test_nothing_is_written_for_who_only_reads(serve: Serve, tmp_path: Path) -> None:
    served = serve(read_only=True)
    before = hashlib.sha256(served.options.database.read_bytes()).hexdigest()
    with served.client() as client:
        for _ in range(2):
            size_of(client.get(f"/pictures/{served.hashes()[0]}/thumbnail"))
        assert client.get("/cache").json()["folder"] is None
    assert not (tmp_path / "cache").exists()
    assert hashlib.sha256(served.options.database.read_bytes()).hexdigest() == before


def test_a_cache_in_the_evidence_is_refused(gallery: Made, tmp_path: Path) -> None:
    database = Path(shutil.copy(gallery.database, tmp_path / "case.db"))
    with pytest.raises(UsageError, match="written into the indexed folder"):
        Desk(ServeOptions(database, cache=gallery.folder / "thumbnails"))
    assert not ordinary._distrusting


def test_the_page_goes_on_where_nothing_can_be_kept_and_says_so_once(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    served = serve(cache=tmp_path / "file")
    with served.client() as client:
        for sha256 in served.hashes()[:3]:
            size_of(client.get(f"/pictures/{sha256}/thumbnail"))
            size_of(client.get(f"/pictures/{sha256}/thumbnail"))
    assert [each.levelname for each in caplog.records if each.name == kept.__name__] == ["WARNING"]


def test_the_page_s_own_process_decodes_no_picture(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "decode_here", lambda *_, **__: pytest.fail("decoded here"))
    first = served.hashes()[0]
    size_of(client.get(f"/pictures/{first}/thumbnail"))
    size_of(client.get(f"/pictures/{first}/picture"))


def test_many_threads_keep_and_find_the_same_files(tmp_path: Path) -> None:
    cache = kept.Kept(tmp_path / "cache", 40_000, lambda folder: None)
    wrong: list[str] = []

    def work(start: int) -> None:
        for number in range(start, start + 200):
            name = f"{number % 50:064x}-64.jpg"
            found = cache.get(name)
            if found not in (None, name.encode() * 20):
                wrong.append(name)
            cache.put(name, name.encode() * 20)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 160, 20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    assert 0 < cache.extent().bytes <= 40_000


def test_all_that_is_on_record_of_a_picture_is_told_and_names_are_shown(
    client: httpx.Client, served: Served
) -> None:
    told = [client.get(f"/pictures/{each}").json() for each in served.hashes()]
    assert all(len(each["sha1"]) == 40 and len(each["md5"]) == 32 for each in told)
    assert max(len(each["places"]) for each in told) == 2
    assert any("<script>" in json.dumps(each["exif"]) for each in told)
