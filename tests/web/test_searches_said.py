"""What is said of a search afterwards: in the audit chain, in the answer's words, in a report of its hits."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from image_similarity.case import Case
from image_similarity.values import MeasuredRecall, SearchResult
from image_similarity.web import asking
from image_similarity.web.api import searches
from tests.conftest import draw_picture
from tests.web.conftest import Served


def sent(client: httpx.Client, seed: int, name: str) -> dict[str, str]:
    target = io.BytesIO()
    draw_picture(seed, (120, 90)).save(target, "JPEG")
    upload = client.post("/uploads", params={"name": name}, content=target.getvalue()).json()
    return {"upload": upload["sha256"]}


def ask(client: httpx.Client, *queries: dict[str, str], **asked: Any) -> dict[str, Any]:
    answer = client.post("/searches", json={"queries": queries, "scene": ["off"], **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def reported(client: httpx.Client, search: str) -> str:
    made = client.post("/reports", json={"of": "search", "search": search, "form": "html"}).json()
    return Path(made["path"]).read_text("utf-8")


def test_a_distance_of_zero_is_recorded_and_makes_another_answer(
    client: httpx.Client, served: Served
) -> None:
    with Case.open(served.made.database) as case:
        case.set_facts(number="17/2026")
    query = {"sha256": served.hashes()[3]}
    exact = ask(client, query, k=1, max_distance=0)
    whole = ask(client, query, k=1)
    assert exact["id"] != whole["id"]
    entries = [json.loads(each.detail) for each in served.desk.case.audit(2)]
    assert [each["asked"].get("max_distance") for each in entries] == [0.0, None]


def test_what_was_sent_is_called_as_its_sender_did_and_not_by_where_it_lies(
    client: httpx.Client, served: Served
) -> None:
    lost, other = sent(client, 500, "lost.jpg"), sent(client, 501, "other.jpg")
    temporary = str(served.desk.uploads.get(lost["upload"]).path.parent)
    one = ask(client, lost)
    fused = ask(client, lost, {"sha256": served.hashes()[3]}, against=[other])
    assert "(other.jpg)" in " ".join(fused["words"])
    told = [json.dumps(fused), reported(client, one["id"]), reported(client, fused["id"])]
    assert not any(temporary in each for each in told)
    assert all("lost.jpg" in each for each in told)


def test_how_often_an_approximate_search_was_right_is_said_with_the_answer(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"sha256": served.hashes()[3]}
    assert "stored pictures" not in " ".join(ask(client, query)["words"])

    def by_index(*asked: Any) -> SearchResult:
        recall = MeasuredRecall(99, 100, 10, 10, vectors=5_000)
        return replace(asking.ask(*asked), search="approximate", recall=recall)

    monkeypatch.setattr(searches, "ask", by_index)
    said = "approximate (found 99 of the 100 nearest of 10 stored pictures, measured among 5,000)"
    assert f"search: {said}" in ask(client, query)["words"]


def test_a_hit_at_a_place_that_it_left_says_so_though_it_lies_at_another(
    client: httpx.Client, served: Served
) -> None:
    with served.desk.case._catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE file SET gone_run_id = 1 WHERE path = 'rooms/copy.jpg'")
        held = "SELECT sha256 FROM image JOIN file ON file.image_id = image.id WHERE path = ?"
        (sha256,) = connection.exec_driver_sql(held, ("rooms/copy.jpg",)).one()
    hits = ask(client, {"sha256": sha256}, k=2, include_gone=True)["hits"]["items"]
    found = {hit["place"]: (hit["gone"], hit["places"]) for hit in hits}
    assert found == {"evidence:picture-00.jpg": (False, 1), "evidence:rooms/copy.jpg": (True, 1)}


def test_a_report_of_hits_says_which_pictures_alone_were_searched(
    client: httpx.Client, served: Served
) -> None:
    found = ask(client, {"sha256": served.hashes()[3]}, taken_from="2024-02", taken_to="2024-10")
    hidden = found["excluded"]["hidden_undated"]
    assert hidden > 0
    report = reported(client, found["id"])
    assert "taken from 2024-02 to 2024-10 (EXIF)" in report
    assert f"Hidden without a date</dt><dd>{hidden}" in report.replace("\n", "")


def test_the_audit_entry_has_the_dates_and_all_queries_of_a_fused_search(
    client: httpx.Client, served: Served
) -> None:
    with Case.open(served.made.database) as case:
        case.set_facts(number="17/2026")
    stored, upload = {"sha256": served.hashes()[3]}, sent(client, 500, "lost.jpg")
    ask(client, stored, upload, taken_from="2024", taken_to="2024-10")
    (entry,) = served.desk.case.audit(1)
    detail = json.loads(entry.detail)
    assert (detail["asked"]["taken_from"], detail["asked"]["taken_to"]) == ("2024", "2024-10")
    assert detail["asked"]["queries"] == [stored, upload]
    assert set(detail["fused"]) == {stored["sha256"], upload["upload"]}
