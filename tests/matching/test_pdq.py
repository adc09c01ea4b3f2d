"""PDQ: distances, orientations and stacks of hashes; and the hash itself, where pdqhash is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_similarity.matching import pdq
from image_similarity.pictures.pixels import prepare
from tests.conftest import draw_picture
from tests.search.near_cases import flipped


def some(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def plainly(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32))
def test_the_distance_is_the_number_of_differing_bits(query: bytes, seed: int) -> None:
    others = some(5, seed)
    assert pdq.distances(query, others).tolist() == [plainly(query, o.tobytes()) for o in others]


def test_no_hashes_have_no_distances() -> None:
    assert pdq.distances(bytes(32), some(0)).shape == (0,)
    assert pdq.stacks(some(0)) == []
    assert pdq.spread(some(0)) == 0


def test_the_orientations_are_a_group_so_that_either_of_two_may_be_turned() -> None:
    hashes = some(4)
    forms = pdq.oriented(hashes)
    assert forms.shape == (8, 4, 32)
    assert (forms[0] == hashes).all()
    for form in forms:
        again = {each.tobytes() for each in pdq.oriented(form)}
        assert again == {each.tobytes() for each in forms}


def test_a_turned_hash_is_found_only_when_turns_are_asked_for() -> None:
    hashes = some(20)
    mirrored = pdq.oriented(hashes)[1, 13].tobytes()
    far, turn = pdq.nearest_orientation(mirrored, hashes, turned=True)
    assert far[13] == 0
    assert pdq.ORIENTATIONS[turn[13]] == "mirrored left to right"
    far, turn = pdq.nearest_orientation(mirrored, hashes, turned=False)
    assert far.min() > 31
    assert not turn.any()


def test_stacks_are_those_of_all_pairs_compared_one_by_one() -> None:
    originals = some(40)
    copies = [flipped(each.tobytes(), n % 40, n) for n, each in enumerate(originals)]
    hashes = np.concatenate([originals, np.frombuffer(b"".join(copies), np.uint8).reshape(-1, 32)])
    expected = [[n, n + 40] for n in range(40) if n % 40 <= 31]
    assert [group.tolist() for group in pdq.stacks(hashes)] == expected


def test_a_chain_makes_one_stack_whose_spread_says_that_it_is_one() -> None:
    chain = [bytes(32), b"\xff" * 3 + bytes(29), b"\xff" * 6 + bytes(26), b"\xff" * 9 + bytes(23)]
    hashes = np.frombuffer(b"".join([*chain, *(x.tobytes() for x in some(3))]), np.uint8)
    hashes = hashes.reshape(-1, 32)
    (stack,) = pdq.stacks(hashes)
    assert stack.tolist() == [0, 1, 2, 3]
    assert pdq.spread(hashes[stack]) == 72


def test_31_bits_are_near_and_32_are_not() -> None:
    one = some(1)[0]
    pairs = [np.stack([one, np.frombuffer(flipped(one.tobytes(), n), np.uint8)]) for n in (31, 32)]
    assert [len(pdq.stacks(pair)) for pair in pairs] == [1, 0]


def test_stacks_in_any_orientation_join_turned_copies() -> None:
    hashes = some(6)
    hashes[5] = pdq.oriented(hashes)[5, 0]
    assert pdq.stacks(hashes) == []
    (stack,) = pdq.stacks(hashes, turned=True)
    assert stack.tolist() == [0, 5]
    assert pdq.spread(hashes[stack], turned=True) == 0


def test_thousands_of_equal_hashes_are_one_stack_and_progress_is_told() -> None:
    hashes = np.repeat(some(1), 3000, axis=0)
    told: list[int] = []
    (stack,) = pdq.stacks(hashes, tell=told.append)
    assert len(stack) == 3000
    assert told == sorted(told)
    assert told[-1] == 3000


@pytest.mark.parametrize("size", [(700, 300), (120, 80), (1, 1)])
def test_a_picture_of_any_size_is_made_a_square_first(size: tuple[int, int]) -> None:
    assert prepare(Image.new("RGB", size), pdq.PREPROCESS).shape == (512, 512, 3)


# --- where pdqhash is installed ---------------------------------------------------------------


def hash_of(picture: Image.Image) -> pdq.PdqHash:
    pytest.importorskip("pdqhash")
    return pdq.hash_pixels(prepare(picture, pdq.PREPROCESS))


def test_a_smaller_recompressed_copy_is_near_and_another_picture_is_not() -> None:
    picture = draw_picture(8, (640, 480))
    own, copy = hash_of(picture), hash_of(picture.resize((320, 240)))
    other = hash_of(draw_picture(4, (640, 480)))
    assert own.quality >= pdq.MIN_QUALITY
    assert plainly(own.hash, copy.hash) <= pdq.MAX_DISTANCE
    assert plainly(own.hash, other.hash) > 64


@pytest.mark.parametrize(
    ("transpose", "orientation"),
    [
        (Image.Transpose.FLIP_LEFT_RIGHT, "mirrored left to right"),
        (Image.Transpose.FLIP_TOP_BOTTOM, "mirrored top to bottom"),
        (Image.Transpose.ROTATE_180, "turned by 180 degrees"),
        (Image.Transpose.ROTATE_270, "turned by 90 degrees clockwise"),
        (Image.Transpose.ROTATE_90, "turned by 90 degrees counterclockwise"),
        (Image.Transpose.TRANSPOSE, "transposed"),
        (Image.Transpose.TRANSVERSE, "transposed and turned by 180 degrees"),
    ],
)
def test_each_turn_of_a_picture_is_recognised_and_named(
    transpose: Image.Transpose, orientation: str
) -> None:
    picture = draw_picture(5, (600, 480))
    own = hash_of(picture)
    turned = np.frombuffer(hash_of(picture.transpose(transpose)).hash, np.uint8)[None]
    far, turn = pdq.nearest_orientation(own.hash, turned, turned=True)
    assert far[0] <= pdq.MAX_DISTANCE
    assert pdq.ORIENTATIONS[turn[0]] == orientation


def test_a_picture_without_structure_has_a_hash_without_quality() -> None:
    assert hash_of(Image.new("RGB", (64, 64), (9, 9, 9))).quality < pdq.MIN_QUALITY
    assert len(hash_of(Image.new("RGB", (1, 1))).hash) == 32
