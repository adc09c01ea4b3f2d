"""Every frozen record stands in one group, and can be had from the package of all."""

from __future__ import annotations

import importlib

import pytest

from image_similarity import values


@pytest.mark.parametrize("home", values._HOMES)
def test_a_group_holds_what_is_said_of_it(home: str) -> None:
    group = importlib.import_module(f"image_similarity.values.{home}")
    made_here = {
        name
        for name, value in vars(group).items()
        if getattr(value, "__module__", None) == group.__name__ and not name.startswith("_")
    }
    assert made_here <= set(values._HOMES[home])
    for name in values._HOMES[home]:
        assert getattr(values, name) is getattr(group, name)


def test_all_names_are_offered_and_no_others() -> None:
    offered = [name for names in values._HOMES.values() for name in names]
    assert sorted(offered) == sorted(values.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        values.nothing  # noqa: B018 - the access is the test
