"""An evaluation does every task that its input allows, repeats itself, and refuses what it must."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from image_similarity.errors import (
    FolderMissing,
    InvalidSetting,
    NothingToEvaluate,
    TrainingPicturesMet,
    UnknownModel,
    WeightsRefused,
)
from image_similarity.evaluation import Evaluation, evaluate
from image_similarity.events import Event, Progress
from tests.evaluation.samples import class_folder, flat_folder, request, trained_on
from tests.tiny_model import SCENES, write_tiny_model


def tasks(evaluation: Evaluation) -> list[str]:
    return [each.task for each in evaluation.models[0].outcomes]


def value(evaluation: Evaluation, task: str, measure: str) -> float:
    (found,) = [
        each.value
        for each in evaluation.models[0].figures
        if (each.task, each.measure) == (task, measure)
    ]
    assert found is not None
    return found


def test_a_folder_per_class_gives_retrieval_and_drawn_triplets(
    tmp_path: Path, tiny_model: Path
) -> None:
    found = evaluate(request(tiny_model, pictures=class_folder(tmp_path / "classes")))
    assert tasks(found) == ["retrieval", "drawn triplets"]
    assert value(found, "retrieval", "recall@1") > 0.8
    assert value(found, "drawn triplets", "triplet accuracy") > 0.8
    assert found.models[0].training == "training pictures unknown"
    assert found.setting["pictures"] == 12
    assert found.failures == ()


def test_classes_that_are_scenes_of_the_model_give_scene_figures(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes", names=[SCENES[0].upper(), *SCENES[1:]])
    found = evaluate(request(tiny_model, pictures=folder))
    assert "scenes" in tasks(found)
    assert value(found, "scenes", "scene top-5") == 1.0
    partly = class_folder(tmp_path / "partly", names=[SCENES[0], "elsewhere", "nowhere"])
    other = evaluate(request(tiny_model, pictures=partly))
    assert "scenes" not in tasks(other)
    assert other.notes == ("1 of 3 classes are scenes of tiny: its scenes are not measured",)


def test_a_list_with_numbered_classes_equals_the_folder(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "pictures")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in folder.rglob("*.png"))
    listing, classes = tmp_path / "val.txt", tmp_path / "categories.txt"
    listing.write_text("".join(f"{name} {name.split('/')[1][-1]}\n" for name in names))
    classes.write_text("".join(f"/c/class-{number} {number}\n" for number in range(3)))
    one = evaluate(request(tiny_model, pictures=folder))
    other = evaluate(request(tiny_model, pictures=listing, class_names=classes))
    assert one.models[0].figures == other.models[0].figures
    assert one.setting["digest"] == other.setting["digest"]


def test_a_model_evaluated_twice_gives_the_same_numbers(tmp_path: Path, tiny_model: Path) -> None:
    asked = request(tiny_model, pictures=class_folder(tmp_path / "classes"), edits=("easy", "hard"))
    first, second = evaluate(asked), evaluate(asked)
    assert first.models[0].figures == second.models[0].figures
    assert first.setting == second.setting


def test_edits_give_copy_detection_and_what_the_scene_filter_does(
    tmp_path: Path, tiny_model: Path
) -> None:
    pictures = flat_folder(tmp_path / "pictures", 9)
    found = evaluate(
        request(
            tiny_model,
            pictures=pictures,
            gallery=flat_folder(tmp_path / "others", 6, seed=50),
            edits=("unchanged", "easy"),
        )
    )
    assert tasks(found) == [
        "copies easy", "scene filter easy", "copies named", "scene filter named",
    ]  # fmt: skip
    # A third has no match, and a picture that was not changed is found.
    assert value(found, "copies named", "recall@1") == 1.0
    assert value(found, "copies named", "micro-AP") == pytest.approx(1.0)
    assert value(found, "scene filter named", "auto loses") == 0.0
    assert value(found, "scene filter named", "hard loses") == 0.0
    assert found.setting["unmatched"] == 3
    outcomes = found.models[0].outcomes[2]
    assert outcomes.columns["matched"].sum() == 6
    assert outcomes.queries[0] == "00.png [unchanged]"


def test_a_gallery_may_hold_the_pictures_that_are_asked_for_without_harm(
    tmp_path: Path, tiny_model: Path
) -> None:
    pictures = flat_folder(tmp_path / "pictures", 4)
    gallery = shutil.copytree(pictures, tmp_path / "gallery")
    found = evaluate(
        request(tiny_model, pictures=pictures, gallery=gallery, edits=("unchanged",), unmatched=0)
    )
    assert value(found, "copies named", "recall@1") == 1.0
    assert any("left out of it" in note for note in found.notes)


def test_several_models_and_descriptors_stand_side_by_side(
    tmp_path: Path, tiny_model: Path
) -> None:
    pytest.importorskip("pdqhash")
    (tmp_path / "two").mkdir()
    other = write_tiny_model(tmp_path / "two" / "tiny.safetensors", seed=1)
    found = evaluate(
        request(
            tiny_model,
            models=(str(tiny_model), str(other), "histogram", "pdq"),
            pictures=class_folder(tmp_path / "classes"),
        )
    )
    names = [each.name for each in found.models]
    assert names == [str(tiny_model), str(other), "histogram", "pdq"]
    assert [each.training for each in found.models[2:]] == ["not trained", "not trained"]
    assert len({each.outcomes[0].queries for each in found.models}) == 1


def test_torchscript_files_are_run_concatenated_and_centred(
    tmp_path: Path, tiny_model: Path
) -> None:
    torch = pytest.importorskip("torch")

    class Mean(torch.nn.Module):
        def forward(self, pictures):  # type: ignore[no-untyped-def]
            return torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)

    first, second = tmp_path / "a.ts", tmp_path / "b.ts"
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        for path in (first, second):
            torch.jit.script(Mean()).save(str(path))
    folder = class_folder(tmp_path / "classes")
    asked = {"pictures": folder, "models": (f"{first}@32", f"{first}@32+{second}@48")}
    plain = evaluate(request(tiny_model, **asked))
    assert [each.name for each in plain.models] == ["a", "a+b"]
    apart = evaluate(request(tiny_model, pictures=folder, models=asked["models"][1:]))
    assert apart.models[0].figures == plain.models[1].figures
    assert [each.centred for each in plain.models] == [False, False]
    background = flat_folder(tmp_path / "background", 5, seed=70)
    centred = evaluate(request(tiny_model, **asked, background=background))
    assert [each.centred for each in centred.models] == [True, True]
    assert value(plain, "retrieval", "recall@1") > 0.8


def test_a_background_is_of_other_pictures_and_what_it_lacks_is_said(
    tmp_path: Path, tiny_model: Path
) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.script(torch.nn.Flatten()).save(str(tmp_path / "a.ts"))
    folder = class_folder(tmp_path / "classes")
    asked = {"pictures": folder, "models": (f"{tmp_path / 'a.ts'}@8",)}
    with pytest.raises(InvalidSetting, match="12 pictures of the background are evaluated"):
        evaluate(request(tiny_model, **asked, background=folder))
    others = flat_folder(tmp_path / "others", 2, seed=70)
    listing = others / "list.txt"
    listing.write_text("00.png\n01.png\ngone.png\n")
    found = evaluate(request(tiny_model, **asked, background=listing))
    assert [each.path for each in found.failures] == ["gone.png"]
    plain = evaluate(request(tiny_model, pictures=folder, background=folder))
    assert plain.notes == ("no model is a TorchScript file: the background changes nothing",)


def test_pairs_that_all_have_one_answer_are_said_to_tell_nothing(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = flat_folder(tmp_path / "flat", 3)
    for same in (0, 1):
        text = f"a,b,same\n00.png,01.png,{same}\n01.png,02.png,{same}\n"
        (folder / "pairs.csv").write_text(text)
        found = evaluate(request(tiny_model, pairs=folder / "pairs.csv"))
        assert any("all pairs have one answer" in note for note in found.notes)


def test_pairs_of_which_no_row_is_whole_are_no_evaluation(tmp_path: Path, tiny_model: Path) -> None:
    folder = flat_folder(tmp_path / "flat", 2)
    (folder / "pairs.csv").write_text("a,b,same\n00.png,gone.png,1\n01.png,gone.png,0\n")
    with pytest.raises(NothingToEvaluate):
        evaluate(request(tiny_model, pairs=folder / "pairs.csv"))


def test_a_file_that_is_no_torchscript_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken.ts"
    broken.write_bytes(b"no network")
    folder = class_folder(tmp_path / "classes")
    with pytest.raises(WeightsRefused, match=r"broken\.ts"):
        evaluate(request(tiny_model, models=(str(broken),), pictures=folder))
    for name in ("nonsense", f"{broken}@0", f"{broken}@9999999"):
        with pytest.raises(UnknownModel):
            evaluate(request(tiny_model, models=(name,), pictures=folder))


def test_training_pictures_are_refused_with_their_number_and_the_first(tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    pictures = sorted(folder.rglob("*.png"))
    model = trained_on(tmp_path / "trained.safetensors", pictures[2:4])
    with pytest.raises(TrainingPicturesMet) as caught:
        evaluate(request(model, pictures=folder))
    assert "2 of the 12 pictures" in caught.value.message
    assert "class-0/2.png" in caught.value.message
    assert caught.value.exit_code == 1


def test_training_pictures_are_refused_in_the_gallery_and_in_pairs(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 4)
    gallery = flat_folder(tmp_path / "gallery", 3, seed=30)
    model = trained_on(tmp_path / "trained.safetensors", [gallery / "01.png"])
    with pytest.raises(TrainingPicturesMet, match=r"01\.png"):
        evaluate(request(model, pictures=folder, gallery=gallery, edits=("mirror",)))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b,same\ngallery/01.png,pictures/00.png,0\n")
    with pytest.raises(TrainingPicturesMet):
        evaluate(request(model, pairs=pairs))


def test_a_training_picture_is_found_where_the_gallery_has_one_of_the_same_name(
    tmp_path: Path,
) -> None:
    folder = flat_folder(tmp_path / "pictures", 4)
    gallery = flat_folder(tmp_path / "gallery", 4, seed=30)
    model = trained_on(tmp_path / "trained.safetensors", [folder / "01.png"])
    with pytest.raises(TrainingPicturesMet, match=r"1 of the 8 pictures given.*01\.png"):
        evaluate(request(model, pictures=folder, gallery=gallery, edits=("mirror",)))


def test_a_model_that_names_its_training_pictures_says_that_none_was_met(tmp_path: Path) -> None:
    stranger = flat_folder(tmp_path / "strangers", 2)
    model = trained_on(tmp_path / "trained.safetensors", list(stranger.iterdir()))
    found = evaluate(request(model, pictures=class_folder(tmp_path / "classes")))
    assert found.models[0].training.startswith("none of its 2 training pictures")


def test_pairs_and_triplets_come_from_a_csv_file(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    pairs, triplets = folder / "pairs.csv", folder / "triplets.csv"
    pairs.write_text(
        "a,b,same\nclass-0/0.png,class-0/1.png,1\nclass-1/0.png,class-1/1.png,1\n"
        "class-0/0.png,class-1/0.png,0\nclass-2/0.png,class-1/2.png,0\nclass-0/0.png,gone.png,0\n"
    )
    found = evaluate(request(tiny_model, pairs=pairs))
    assert tasks(found) == ["pairs"]
    assert value(found, "pairs", "micro-AP") == pytest.approx(1.0)
    assert [each.path for each in found.failures] == ["gone.png"]
    assert any("1 rows of the pairs file" in note for note in found.notes)
    triplets.write_text("query,positive,negative\nclass-0/0.png,class-0/1.png,class-1/0.png\n")
    other = evaluate(request(tiny_model, pairs=triplets))
    assert value(other, "triplets", "triplet accuracy") == 1.0


def test_a_corrupt_picture_is_listed_and_the_others_are_measured(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes")
    (folder / "class-0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (folder / "class-0" / "letter.txt").write_text("Dear Sir")
    found = evaluate(request(tiny_model, pictures=folder, edits=("mirror",)))
    assert [each.path for each in found.failures] == ["class-0/broken.png"]
    assert len(found.models[0].outcomes[0].queries) == 12


def test_a_list_that_names_a_missing_file_goes_on_without_it(
    tmp_path: Path, tiny_model: Path
) -> None:
    class_folder(tmp_path / "c", classes=2, each=2)
    listing = tmp_path / "list.txt"
    lines = [f"c/class-{a}/{b}.png {a}" for a in (0, 1) for b in (0, 1)]
    listing.write_text("\n".join([*lines, "c/gone.png 1"]))
    found = evaluate(request(tiny_model, pictures=listing))
    assert [(each.path, each.stage) for each in found.failures] == [("c/gone.png", "stat")]
    assert len(found.models[0].outcomes[0].queries) == 4


def test_what_a_list_names_that_is_no_picture_is_counted(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    (folder / "class-0" / "page.jpg").write_text("<html>404</html>")
    found = evaluate(request(tiny_model, pictures=folder))
    assert found.notes == ("1 files among the pictures are no pictures and left out",)


def test_other_classes_or_pairs_of_the_same_files_are_another_task(
    tmp_path: Path, tiny_model: Path
) -> None:
    class_folder(tmp_path / "c", classes=2, each=2)
    listing, pairs = tmp_path / "list.txt", tmp_path / "pairs.csv"
    digests = []
    for labels, same in (("0011", 1), ("0101", 1), ("0101", 0)):
        lines = [f"c/class-{n // 2}/{n % 2}.png {label}" for n, label in enumerate(labels)]
        listing.write_text("\n".join(lines))
        pairs.write_text(f"a,b,same\nc/class-0/0.png,c/class-1/1.png,{same}\n")
        found = evaluate(request(tiny_model, pictures=listing, pairs=pairs))
        digests.append(found.setting["digest"])
    assert len(set(digests)) == 3


def test_a_picture_beside_the_class_folders_is_counted_and_the_others_are_measured(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes")
    alone = evaluate(request(tiny_model, pictures=folder))
    flat_folder(folder, 1, seed=9)
    found = evaluate(request(tiny_model, pictures=folder))
    assert found.models[0].figures == alone.models[0].figures
    assert found.notes == ("1 pictures without a class are in no figure of classes",)


def test_duplicates_count_once(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    shutil.copy(folder / "class-0" / "0.png", folder / "class-0" / "again.png")
    found = evaluate(request(tiny_model, pictures=folder))
    assert found.setting["pictures"] == 12
    assert found.notes == ("1 byte-for-byte duplicates among the pictures left out",)


def test_a_sample_is_drawn_with_the_seed(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "classes", each=6)
    one, same, other = (
        evaluate(request(tiny_model, pictures=folder, sample=10, seed=seed)) for seed in (1, 1, 2)
    )
    assert one.setting["pictures"] == 10
    assert one.setting["digest"] == same.setting["digest"] != other.setting["digest"]


def test_where_no_task_can_be_made_that_is_said(tmp_path: Path, tiny_model: Path) -> None:
    alone = class_folder(tmp_path / "alone", classes=1, each=1)
    one_class = class_folder(tmp_path / "one", classes=1, each=4)
    flat = flat_folder(tmp_path / "flat", 3)
    (tmp_path / "empty").mkdir()
    for folder in (alone, one_class, flat, tmp_path / "empty"):
        with pytest.raises(NothingToEvaluate):
            evaluate(request(tiny_model, pictures=folder))


def test_what_does_not_fit_together_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    folder = flat_folder(tmp_path / "flat", 3)
    for given in (
        {},
        {"pictures": folder, "edits": ("sepia",)},
        {"pictures": folder, "gallery": folder},
        {"edits": ("easy",), "pairs": folder},
        {"pictures": folder, "edits": ("easy",), "unmatched": 3},
        {"pictures": folder, "edits": ("easy",), "unmatched": -1},
        {"pictures": folder, "database": tmp_path / "case.db"},
        {"database": tmp_path / "case.db", "background": folder},
        {"database": tmp_path / "case.db", "reduce": 64},
        {"pictures": folder, "seed": -1},
        {"pictures": folder, "reduce": 2, "edits": ("easy",)},
    ):
        with pytest.raises(InvalidSetting):
            evaluate(request(tiny_model, **given))
    with pytest.raises(FolderMissing):
        evaluate(request(tiny_model, pictures=tmp_path / "nowhere"))


def test_progress_ends_at_its_total(tmp_path: Path, tiny_model: Path) -> None:
    seen: list[Event] = []
    evaluate(
        request(tiny_model, pictures=flat_folder(tmp_path / "flat", 5), edits=("mirror",)),
        on_event=seen.append,
    )
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (10, 10)


def test_vectors_do_not_depend_on_the_other_models(tmp_path: Path, tiny_model: Path) -> None:
    folder = class_folder(tmp_path / "classes")
    alone = evaluate(request(tiny_model, pictures=folder))
    beside = evaluate(request(tiny_model, pictures=folder, models=(str(tiny_model), "histogram")))
    one, other = alone.models[0].outcomes[0], beside.models[0].outcomes[0]
    assert all(np.array_equal(one.columns[name], other.columns[name]) for name in one.columns)
