"""Searching through the interface: pictures that are sent, questions of every kind, answers page by page."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.web import answers as answers_module
from image_similarity.web import uploads as uploads_module
from image_similarity.web.desk import Desk
from image_similarity.web.problems import Refused
from image_similarity.web.temporary import purge_abandoned
from tests.cli.conftest import ROOT
from tests.conftest import draw_picture
from tests.web.conftest import Serve, Served


def picture(seed: int = 500, form: str = "JPEG", size: tuple[int, int] = (120, 90)) -> bytes:
    target = io.BytesIO()
    draw_picture(seed, size).save(target, form)
    return target.getvalue()


def sent(client: httpx.Client, data: bytes, name: str = "found.jpg") -> httpx.Response:
    return client.post("/uploads", params={"name": name}, content=data)


def ask(client: httpx.Client, *queries: dict[str, str], **asked: Any) -> dict[str, Any]:
    answer = client.post("/searches", json={"queries": list(queries), **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(client: httpx.Client, **asked: Any) -> tuple[int, str]:
    answer = client.post("/searches", json=asked)
    return answer.status_code, answer.json()["error"]["code"]


def first(served: Served) -> str:
    """The content that lies at two places."""
    data = (served.made.folder / "picture-00.jpg").read_bytes()
    return hashlib.sha256(data).hexdigest()


def folder(served: Served) -> Path:
    found = served.desk.uploads._folder.made
    assert found is not None
    return found


# -- pictures that are sent ------------------------------------------------------------------------------------------


def test_a_picture_that_is_sent_can_be_searched_with_and_looked_at(
    client: httpx.Client, served: Served
) -> None:
    upload = sent(client, picture(), "d\u00e4chle\u202egpj.exe").json()
    assert upload["name"] == "d\u00e4chle\\u202egpj.exe"
    assert (upload["width"], upload["height"]) == (120, 90)
    found = ask(client, {"upload": upload["sha256"]}, k=5, scene=["off"])
    assert found["queries"] == [{**upload, "upload": True}]
    assert [hit["rank"] for hit in found["hits"]["items"]] == [1, 2, 3, 4, 5]
    assert not any(hit["identical"] for hit in found["hits"]["items"])
    shown = client.get(f"/uploads/{upload['sha256']}/picture", params={"side": 64})
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["cache-control"] == "no-store"
    assert max(Image.open(io.BytesIO(shown.content)).size) == 64


def test_what_is_sent_lies_where_only_this_user_can_read_it_and_goes_with_the_page(
    serve: Serve,
) -> None:
    served = serve()
    with served.client() as client:
        upload = sent(client, picture()).json()
    kept = folder(served)
    assert kept.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in kept.iterdir()] == [upload["sha256"]]
    assert served.hashes().count(upload["sha256"]) == 0, "it is no part of the case"
    served.desk.uploads.close()
    assert not kept.exists()


@pytest.mark.parametrize(
    "data", [b"", b"Dear Sir", b"\xff\xd8\xff\xe0 no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)]
)
def test_what_is_no_picture_is_refused_and_not_kept(
    client: httpx.Client, served: Served, data: bytes
) -> None:
    answer = sent(client, data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "image_unreadable")
    assert not list(folder(served).iterdir())


def test_a_bomb_is_refused_without_being_unpacked(client: httpx.Client) -> None:
    target = io.BytesIO()
    # A little above the limit: to make a larger one takes gigabytes.
    Image.new("1", (16_000, 16_000)).save(target, "PNG")
    answer = sent(client, target.getvalue())
    assert answer.status_code == 422
    assert "megapixels" in answer.text or "pixels" in answer.text


def test_a_picture_larger_than_the_page_takes_is_refused(serve: Serve) -> None:
    with serve(most_uploaded=1000).client() as client:
        answer = sent(client, picture(form="PNG"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_only_so_many_are_kept_and_the_oldest_goes(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "MOST_KEPT", 2)
    first, second, third = (sent(client, picture(seed)).json()["sha256"] for seed in (1, 2, 3))
    assert {each.name for each in folder(served).iterdir()} == {second, third}
    assert client.get(f"/uploads/{first}/picture").status_code == 404
    assert refused(client, queries=[{"upload": first}]) == (404, "no_upload")


def test_the_same_picture_sent_again_stays_though_another_name_was_refused(
    client: httpx.Client, served: Served
) -> None:
    upload = sent(client, picture()).json()
    assert sent(client, picture(), "again.jpg").json()["sha256"] == upload["sha256"]
    assert [each.name for each in folder(served).iterdir()] == [upload["sha256"]]


def test_what_a_killed_page_left_is_deleted_by_the_next_and_what_a_running_one_holds_is_not(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "image-similarity-page-left"
    left.mkdir(mode=0o700)
    for name in ("0" * 64, "part-ab_1", f"map-{'a' * 16}.csv", f"map-{'a' * 16}.csv.cells.npz"):
        (left / name).write_bytes(picture())
    (tmp_path / "image-similarity-page-notes").write_text("of someone else")
    served = serve()
    assert not left.exists()
    with served.client() as client:
        held = sent(client, picture()).json()["sha256"]
    purge_abandoned(served.desk.case)
    assert [each.name for each in folder(served).iterdir()] == [held]
    assert (tmp_path / "image-similarity-page-notes").exists()


def test_what_was_sent_goes_also_where_someone_does_not_wait_for_a_job_to_stop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(served.options)
    kept = desk.uploads.add(picture(), "one.jpg").path.parent

    def pressed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.jobs, "close", pressed)
    with pytest.raises(KeyboardInterrupt):
        desk.close()
    assert not kept.exists()


def test_a_folder_of_someone_s_own_stays_whatever_they_called_it(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("image-similarity-case", "image-similarity-page-of-mine"):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "case.db").write_text("years of work")
        (tmp_path / name / ("0" * 64)).write_text("a picture by its hash")
    served = serve()
    with served.client() as client:
        sent(client, picture())
    served.desk.uploads.close()
    assert len(list(tmp_path.glob("image-similarity-*/case.db"))) == 2
    assert len(list(tmp_path.glob("image-similarity-*/0*"))) == 2


def test_where_the_disk_is_full_the_page_says_so_and_leaves_nothing_there(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent(client, picture()).status_code == 200
    kept = list(folder(served).iterdir())

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        answer = sent(client, picture(2))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_kept")
    assert "No space left" in answer.json()["error"]["message"]
    assert list(folder(served).iterdir()) == kept


def test_one_that_is_refused_takes_the_same_picture_from_no_other(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = served.desk.uploads
    size = uploads_module._size

    def beside(path: Path, data: bytes) -> tuple[int, int]:
        # Another thread sends the same at this moment, and does not get its turn.
        monkeypatch.setattr(uploads_module, "_size", busy)
        with pytest.raises(Refused):
            uploads.add(data, "again.jpg")
        return size(path, data)

    def busy(path: Path, data: bytes) -> tuple[int, int]:
        raise Refused(503, "busy", "many pictures are being made")

    monkeypatch.setattr(uploads_module, "_size", beside)
    assert uploads.add(picture(), "one.jpg").path.read_bytes() == picture()
    assert len(list(folder(served).iterdir())) == 1


def test_nothing_is_kept_where_the_temporary_folder_is_evidence(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(served.made.folder / "rooms"))
    answer = sent(client, picture())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage_error")
    assert [each.name for each in (served.made.folder / "rooms").iterdir()] == ["copy.jpg"]


def test_no_path_names_a_picture_that_was_sent(client: httpx.Client) -> None:
    for name in ("../../etc/passwd", "%2e%2e%2fcase.db", "A" * 64, "0" * 63):
        assert client.get(f"/uploads/{name}/picture").status_code in (404, 422)


# -- questions -------------------------------------------------------------------------------------------------------


def test_a_picture_of_the_case_finds_itself_and_its_copy_first(
    client: httpx.Client, served: Served
) -> None:
    sha256 = first(served)
    found = ask(client, {"sha256": sha256}, k=3, scene=["off"])
    own = [hit for hit in found["hits"]["items"] if hit["identical"]]
    assert {hit["place"] for hit in own} == {"evidence:picture-00.jpg", "evidence:rooms/copy.jpg"}
    assert found["filter"]["mode"] == "off"
    assert found["filter"]["searched"] == 30
    assert found["search"] in ("exhaustive", "bounded")
    assert found["queries"][0]["name"] == "evidence:picture-00.jpg"


def test_a_known_picture_is_answered_without_torch_or_any_network(served: Served) -> None:
    code = f"""
import sys
from dataclasses import replace
from fastapi.testclient import TestClient
from image_similarity.web.app import make_app
from image_similarity.web.desk import Desk
from image_similarity.web.options import ServeOptions
from image_similarity.web.sessions import Sessions
from pathlib import Path
options = ServeOptions(Path({str(served.made.database)!r}), read_only=True)
with Desk(options) as desk:
    sessions = Sessions()
    client = TestClient(make_app(desk, sessions), base_url="http://127.0.0.1:8765")
    answer = client.post(
        "/api/v1/searches",
        json={{"queries": [{{"sha256": {served.hashes()[0]!r}}}]}},
        headers={{"Authorization": "Bearer " + sessions.key}},
    )
print(answer.status_code, sorted({{"torch", "onnxruntime"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["200 []"], done.stdout + done.stderr


def test_the_scenes_of_the_case_come_with_counts_and_which_of_them_were_searched(
    client: httpx.Client, served: Served
) -> None:
    found = ask(client, {"sha256": served.hashes()[0]})
    searched = {each["name"] for each in found["scenes"] if each["searched"]}
    assert searched <= set(found["filter"]["scenes"])
    assert all(each["count"] > 0 for each in found["scenes"])
    counts = [each["count"] for each in found["scenes"]]
    assert counts == sorted(counts, reverse=True)
    wider = ask(client, {"sha256": served.hashes()[0]}, scene=["off"])
    assert all(each["searched"] for each in wider["scenes"])
    assert (
        wider["filter"]["searched"] == found["filter"]["searched"] + found["filter"]["hidden"] == 30
    )


def test_hits_come_page_by_page_and_none_twice(client: httpx.Client, served: Served) -> None:
    found = ask(client, {"sha256": served.hashes()[0]}, scene=["off"], k=1000)
    assert found["hits"]["total"] == 31
    ranks: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(
            f"/searches/{found['id']}/hits", params={"cursor": cursor, "limit": 7}
        ).json()
        ranks += [hit["rank"] for hit in page["items"]]
        cursor = page["next"]
    assert ranks == list(range(1, 32))
    assert client.get(f"/searches/{found['id']}").json() == found


def test_a_cursor_of_another_list_and_an_answer_that_is_not_kept_are_refused(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(client, {"sha256": served.hashes()[0]})
    bad = client.get(f"/searches/{first['id']}/hits", params={"cursor": "x"})
    assert (bad.status_code, bad.json()["error"]["code"]) == (422, "bad_cursor")
    monkeypatch.setattr(answers_module, "MOST_KEPT", 1)
    ask(client, {"sha256": served.hashes()[1]})
    for path in ("", "/hits"):
        answer = client.get(f"/searches/{first['id']}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "forgotten")


def test_the_same_question_has_the_same_name_until_the_case_says_otherwise(
    client: httpx.Client, served: Served
) -> None:
    sha256 = served.hashes()[0]
    first = ask(client, {"sha256": sha256}, scene=["off"])
    assert ask(client, {"sha256": sha256}, scene=["off"])["id"] == first["id"]
    with Case.open(served.made.database) as case:
        case.judge(sha256, first["hits"]["items"][-1]["sha256"], "irrelevant")
    again = ask(client, {"sha256": sha256}, scene=["off"])
    assert again["id"] != first["id"]
    assert again["excluded"]["hidden_irrelevant"] == 1
    back = ask(client, {"sha256": sha256}, scene=["off"], include_irrelevant=True)
    assert [hit["verdict"] for hit in back["hits"]["items"]].count("irrelevant") == 1


def test_only_pictures_of_some_dates_sources_and_tags_are_searched(
    client: httpx.Client, served: Served
) -> None:
    hashes = [first(served), *served.hashes()]
    march = ask(client, {"sha256": hashes[0]}, scene=["off"], taken_from="2024-03", taken_to="2024")
    assert 0 < march["filter"]["searched"] < 10
    assert march["excluded"]["hidden_undated"] == 20
    assert any("taken from 2024-03 to 2024" in line for line in march["words"])
    with Case.open(served.made.database) as case:
        case.decide(hashes[3], "tag", "sofa")
    tagged = ask(client, {"sha256": hashes[0]}, scene=["off"], tags=["sofa"])
    assert [hit["sha256"] for hit in tagged["hits"]["items"]] == [hashes[3]]
    assert tagged["hits"]["items"][0]["tags"] == ["sofa"]
    below = ask(client, {"sha256": hashes[0]}, scene=["off"], sources=["evidence"], under="rooms")
    assert [hit["place"] for hit in below["hits"]["items"]] == ["evidence:rooms/copy.jpg"]


def test_part_of_a_picture_of_the_case_is_read_from_its_file(
    client: httpx.Client, served: Served
) -> None:
    sha256 = first(served)
    found = ask(client, {"sha256": sha256}, crop="10%,10%,50%,50%", scene=["off"], k=1000)
    assert found["made"] == "crop 10%,10%,50%,50%"
    places = {hit["place"]: hit["identical"] for hit in found["hits"]["items"]}
    # As with `query FILE --crop`: the file that was read is left out, its copy is identical.
    assert places["evidence:rooms/copy.jpg"] is True
    assert "evidence:picture-00.jpg" not in places
    assert ask(client, {"sha256": sha256}, hidden=["0%,0%,50%,100%"])["made"].startswith("hidden")


def test_part_of_a_picture_whose_file_is_gone_is_refused_with_the_reason(
    client: httpx.Client, served: Served
) -> None:
    last = next(
        each.sha256
        for each in (served.desk.case.image(sha256) for sha256 in served.hashes())
        if each.places[0].path == "picture-07.jpg"
    )
    path = served.made.folder / "picture-07.jpg"
    moved = path.rename(path.with_suffix(".away"))
    try:
        assert refused(client, queries=[{"sha256": last}], crop="0%,0%,50%,50%") == (
            422,
            "image_unreadable",
        )
    finally:
        moved.rename(path)


def test_several_pictures_give_one_list_stored_and_sent_ones_together(
    client: httpx.Client, served: Served
) -> None:
    hashes = served.hashes()
    upload = sent(client, picture()).json()["sha256"]
    found = ask(
        client,
        {"sha256": hashes[0]},
        {"sha256": hashes[5]},
        {"upload": upload},
        against=[{"sha256": hashes[9]}],
        scene=["off"],
    )
    assert [each["sha256"] for each in found["queries"]] == [hashes[0], hashes[5], upload]
    assert hashes[9] not in [hit["sha256"] for hit in found["hits"]["items"]]
    assert any(line.startswith("ranked by reciprocal rank fusion of 3") for line in found["words"])
    assert found["reference"] is None
    assert all(hit["best_rank"] for hit in found["hits"]["items"])


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"queries": []}, 422),
        ({"queries": [{}]}, 422),
        ({"queries": [{"sha256": "0" * 64, "upload": "0" * 64}]}, 422),
        ({"queries": [{"sha256": "../../x"}]}, 422),
        ({"queries": [{"sha256": "0" * 64}]}, 404),
        ({"queries": [{"upload": "0" * 64}]}, 404),
        ({"queries": [{"sha256": "0" * 64}] * 21}, 422),
        ({"queries": 1, "path": "/etc/passwd"}, 422),
        ({"k": 0}, 422),
        ({"k": 1001}, 422),
        ({"k": 2.5}, 422),
        ({"k": "5"}, 422),
        ({"max_distance": -1}, 422),
        ({"max_distance": "NaN"}, 422),
        ({"scene": []}, 422),
        ({"scene": ["no such room"]}, 404),
        ({"scene": ["off", "bedroom"]}, 400),
        ({"scene": ["bed\x00room"]}, 422),
        ({"sources": ["elsewhere"]}, 404),
        ({"model": "nobody"}, 404),
        ({"under": "a\x00b"}, 422),
        ({"tags": ["\ud800"]}, 422),
        ({"taken_from": "2024-02-31"}, 400),
        ({"taken_to": "yesterday"}, 422),
        ({"known": "only"}, 400),
        ({"known": "all"}, 422),
        ({"crop": "1,2"}, 400),
        ({"crop": "90%,90%,20%,20%"}, 400),
        ({"crop": "0,0,9999,9999"}, 400),
        ({"crop": "0%,0%,10%,10%", "near": True}, 400),
        ({"strength": True}, 409),
        ({"device": "cuda"}, 422),
    ],
)
def test_what_has_no_answer_is_refused_with_a_reason(
    client: httpx.Client, served: Served, asked: dict[str, Any], status: int
) -> None:
    body = json.dumps({"queries": [{"sha256": served.hashes()[0]}], **asked} if asked else {})
    answer = client.post("/searches", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_whole_number_may_be_written_with_a_point(client: httpx.Client, served: Served) -> None:
    """As JSON's schema has it."""
    body = json.dumps({"queries": [{"sha256": served.hashes()[0]}], "k": 5.0})
    answer = client.post("/searches", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["k"]) == (200, 5)


# -- the record ------------------------------------------------------------------------------------------------------


def queries_on_record(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with Case.open(path, read_only=True) as case:
        return [
            (each.actor, json.loads(each.detail)) for each in case.audit() if each.action == "query"
        ]


def test_a_search_in_a_numbered_case_is_recorded_in_the_examiner_s_name(
    client: httpx.Client, served: Served
) -> None:
    sha256 = served.hashes()[0]
    assert ask(client, {"sha256": sha256})["recorded"] is False
    with Case.open(served.made.database) as case:
        case.set_facts(number="17/2026")
    client.put("/session", json={"examiner": "A. Smith"})
    found = ask(client, {"sha256": sha256}, scene=["off"], k=3)
    assert (found["recorded"], found["not_recorded"]) == (True, "")
    ((actor, entry),) = queries_on_record(served.made.database)
    assert actor.startswith("A. Smith")
    assert entry["query"] == sha256
    assert entry["asked"] == {
        "queries": [{"sha256": sha256}],
        "k": 3,
        "scene": ["off"],
        "known": "mark",
    }
    assert [each[0] for each in entry["hits"]] == [hit["sha256"] for hit in found["hits"]["items"]]


def test_nothing_is_recorded_of_a_case_that_is_only_read_and_the_answer_says_so(
    serve: Serve,
) -> None:
    served = serve(read_only=True)
    with Case.open(served.made.database) as case:
        case.set_facts(number="17/2026")
    before = served.made.database.read_bytes()
    with served.client() as client:
        found = ask(client, {"sha256": served.hashes()[0]})
        assert sent(client, picture()).status_code == 200
    assert (found["recorded"], found["not_recorded"]) == (
        False,
        "the case was opened for reading only",
    )
    assert served.made.database.read_bytes() == before
