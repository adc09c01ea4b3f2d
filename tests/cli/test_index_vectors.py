"""`db index-vectors`, and `query --exact` beside it."""

from __future__ import annotations

import numpy as np
import pytest

from image_similarity.search import in_server, seen
from image_similarity.values import ServerUrl
from tests.cli.conftest import Made, Run
from tests.search.synthetic import Row, write_case


@pytest.fixture
def server(postgres: ServerUrl) -> str:
    """Fifty pictures on a server."""
    random = np.random.default_rng(1)
    write_case(postgres, [Row(str(at), random.normal(size=2)) for at in range(50)])  # type: ignore[arg-type]
    return postgres.url


def test_an_index_is_told_with_its_recall_and_a_query_that_used_it_says_so(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run("db", "index-vectors", "-dp", server, "-m", "toy", "--links", 8, "--effort", 32)
    assert told.code == 0
    assert "50 of 2 numbers, m 8, ef_construction 32" in told.out
    assert "recall@10  1.0000 against the exact search, over 50 queries" in told.out
    monkeypatch.setattr(in_server, "EXACT_ROWS", 10)
    monkeypatch.setattr(seen, "READ_HERE", 0)
    asked = ("query", "--sha256", Row("1", ()).sha256, "--scene", "off", "-dp", server)
    assert (
        "approximate (found 500 of the 500 nearest of 50 stored pictures, measured among 50)"
        in run(*asked).out
    )
    assert "exhaustive over 50 pictures" in run(*asked, "--exact").out
    assert "both exact and approximate" in run(*asked, "--exact", "--approximate").err
    assert (
        "dropped: ix_embedding_vector_1" in run("db", "index-vectors", "--drop", "-dp", server).err
    )
    assert "no index of this model" in run("db", "index-vectors", "--drop", "-dp", server).err
    assert "exhaustive over 50 pictures" in run(*asked).out


def test_how_much_memory_it_may_take_is_said_and_checked(run: Run, server: str) -> None:
    made = run("db", "index-vectors", "-dp", server, "--memory", "64MB", "--format", "json")
    assert made.objects()[0]["vectors"] == 50
    wrong = run("db", "index-vectors", "-dp", server, "--memory", "much")
    assert (wrong.code, "takes no 'much'" in wrong.err) == (2, True)


def test_a_file_is_told_of_the_index_that_it_can_have(run: Run, indexed: Made) -> None:
    refused = run("db", "index-vectors", "-dp", indexed.database)
    assert refused.code == 2
    assert "image-similarity analyse ann" in refused.err
