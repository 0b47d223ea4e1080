"""`check-data`: everything that is wrong with a data set, in one go; and leaks refused in training."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.wording import GRADE_NAMES

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.check import DataReport, check_data, run_check
from napari_hmkd.training.config import CohortSettings, DataSettings
from napari_hmkd.training.separation import picture_digests, refuse_leaks
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.splits import Split

HEADER = "he,ihc,grade,patient,split"


def look(data: Path | str, **cohort: int) -> DataReport:
    return check_data(str(data), CohortSettings(**cohort), DataSettings())


def run(data: Path | str) -> int:
    return run_check(str(data), CohortSettings(), DataSettings())


def rows_of(report: str) -> dict[str, list[str]]:
    """Words of each line by the first one."""
    return {words[0]: words[1:] for words in map(str.split, report.splitlines()) if words}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes pairs of 256 px and a manifest that names them, one line for each."""

    def write(*lines: str) -> Path:
        folder = tmp_path / "Prüfung süd 2"
        for number in range(9):
            for shift, stain in enumerate(("he", "ihc")):
                tones = np.random.default_rng(10 * number + shift).integers(0, 256, (8, 8, 3))
                path = folder / f"{stain}/{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(tones.astype(np.uint8)).resize((256, 256), 0).save(path)
        manifest = folder / "Liste.csv"
        manifest.write_text("\n".join((HEADER, *lines)), encoding="utf-8")
        return manifest

    return write


def line(number: int, grade: str = "1+", patient: str = "", part: str = "") -> str:
    return f"he/{number}.png,ihc/{number}.png,{grade},{patient},{part}"


def test_a_good_folder_is_counted(bci_folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bci_folder(train=4, test=1)) == 0
    text = capsys.readouterr().out
    rows = rows_of(text)
    assert rows["split"][:4] == ["0", "1+", "2+", "3+"]
    assert rows["train"] == ["4", "4", "4", "4", "0", "16", "unknown"]
    assert rows["test"] == ["1", "1", "1", "1", "0", "4", "unknown"]
    assert rows["all"] == ["5", "5", "5", "5", "0", "20", "unknown"]
    assert "40 of 256 x 256 px" in text
    assert "0.46 um/px" in text
    assert "BCI's grade is the whole slide's" in text
    assert "tell neither slide nor patient" in text
    assert "leaks: none" in text
    assert text.splitlines()[-1] == "exit code 0: the data can be trained on"


def test_the_real_pairs_are_good(shared_data: Path) -> None:
    report = look(shared_data / "bci_pairs")
    assert (report.problems, report.leaks) == ([], [])
    assert report.sizes == {(1024, 1024): 8}


def test_patients_and_unlabelled_pairs_are_counted(study) -> None:
    lines = (line(0, "", "A", "train"), line(1, "3", "A", "train"), line(2, "0", "B"))
    rows = rows_of(str(look(study(*lines))))
    assert rows["train"] == ["0", "0", "0", "1", "1", "2", "1"]
    assert rows["not"] == ["given", "1", "0", "0", "0", "0", "1", "1"]
    assert rows["all"][-1] == "2"


def test_all_problems_are_listed_with_whole_names(bci_folder, capsys) -> None:
    folder = bci_folder()
    train = folder / "HE/train"
    long = f"{'sehr langer Name ' * 10}_2+.png"
    lonely = [train / long, folder / "IHC/train/00003_train_3+.png"]
    shutil.copy(train / "00002_train_2+.png", lonely[0])
    (train / "00003_train_3+.png").unlink()
    broken, cut = train / "00004_train_0.png", folder / "IHC/test/00001_test_1+.png"
    broken.write_bytes(b"no image")
    cut.write_bytes(cut.read_bytes()[:-200])
    large = train / "00005_train_1+.png"
    Image.new("RGB", (512, 512)).save(large, format="JPEG")
    nameless = [folder / stain / "train/ohne Grad.png" for stain in ("HE", "IHC")]
    for path in nameless:
        shutil.copy(train / "00006_train_2+.png", path)
    assert run(folder) == 2
    text = capsys.readouterr().out
    assert "problems: 6" in text
    assert text.splitlines()[-1].startswith("exit code 2: problems")
    for path in (*lonely, broken, cut, large, nameless[0]):
        assert any(str(path) in found for found in text.splitlines()), path
    assert "512 x 512 px" in text


def test_a_size_that_no_picture_may_have_is_told_once(bci_folder) -> None:
    (problem,) = look(bci_folder(side=300)).problems
    assert "300 x 300 px" in problem
    assert "multiple of 256" in problem


def test_problems_of_a_manifest_name_line_and_file(study) -> None:
    manifest = study(line(0), line(1, grade="9"), line(2), line(11))
    (manifest.parent / "ihc/2.png").write_bytes(b"no image")
    problems = "\n".join(look(manifest).problems)
    assert f"{manifest} line 3: the grade '9'" in problems
    assert f"{manifest} line 4: {manifest.parent / 'ihc/2.png'} cannot be decoded" in problems
    assert f"{manifest} line 5: there is no file {manifest.parent / 'he/11.png'}" in problems


@pytest.mark.parametrize(("stain", "named"), [("he", "H&E"), ("ihc", "IHC")])
def test_a_picture_saved_again_under_another_name_is_a_leak(study, stain: str, named: str) -> None:
    manifest = study(line(0, part="train"), line(1, part="test"))
    folder = manifest.parent / stain
    with Image.open(folder / "0.png") as image:
        image.save(folder / "1.png", compress_level=1, dpi=(300, 300))
    assert (folder / "0.png").read_bytes() != (folder / "1.png").read_bytes()
    report = look(manifest)
    assert report.leaks == [
        f"the same {named} picture is in train: {folder / '0.png'} ({manifest} line 2); "
        f"test: {folder / '1.png'} ({manifest} line 3)"
    ]
    assert report.problems == []
    assert run(manifest) == 1


@pytest.mark.parametrize(
    ("patients", "parts", "told"),
    [
        (("A", "B"), ("", ""), "of the patients A and B, so that a split can part them"),
        (("A", "B"), ("train", ""), "of the patients A and B"),
        (("", ""), ("", ""), "whose patients are unknown, so that a split can part them"),
        (("A", ""), ("train", "train"), "whose patients are unknown"),
        (("A", "A"), ("", ""), None),
        (("A", "A"), ("train", ""), None),
    ],
)
@pytest.mark.parametrize("stain", ["he", "ihc"])
def test_copies_that_a_split_can_part_are_a_leak_and_training_agrees(
    study, stain: str, patients: tuple[str, str], parts: tuple[str, str], told: str | None
) -> None:
    copies = [line(n, patient=patients[n], part=parts[n]) for n in (0, 1)]
    manifest = study(*copies, line(2, patient="C"), line(3, patient="D"))
    folder = manifest.parent / stain
    shutil.copy(folder / "0.png", folder / "1.png")
    report = look(manifest)
    assert len(report.leaks) == (told is not None)
    source = open_source(str(manifest), CohortSettings(), DataSettings(mpp=0.5))
    digests = picture_digests(source)
    for found in report.leaks:
        assert told in found
        assert f"{folder / '0.png'} ({manifest} line 2)" in found
        with pytest.raises(DataError, match=re.escape(f"{folder / '1.png'} ({manifest} line 3)")):
            refuse_leaks(source, split_of([0, 2], [1, 3]), digests, accept=False)
    assert (report.exit_code == 1) == bool(report.leaks)
    assert bool(report.leaks) != any("the same" in note for note in report.notes)
    refuse_leaks(source, split_of([0, 1], [2, 3]), digests, accept=False)


def test_a_leak_goes_before_problems_in_the_exit_code(study, capsys) -> None:
    lines = (line(0, part="train"), line(0, part="test"), line(1, grade="9"))
    assert run(study(*lines)) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("exit code 1: leaks")
    assert "problems" in last


def test_a_file_listed_in_two_splits_is_a_leak(study) -> None:
    report = look(study(line(0, part="train"), line(0, part="validation")))
    assert len(report.leaks) == 2
    assert report.problems == []


def test_the_same_picture_within_a_part_that_nothing_is_drawn_from_is_only_told(study) -> None:
    held = ("validation", "calibration", "test")
    others = [line(number, part=part) for number, part in enumerate(held, 2)]
    manifest = study(line(0, part="train"), line(1, part="train"), *others)
    shutil.copy(manifest.parent / "he/0.png", manifest.parent / "he/1.png")
    report = look(manifest)
    assert report.leaks == []
    assert any("the same H&E picture is in train" in note for note in report.notes)
    assert run(manifest) == 0


def test_a_picture_given_as_both_stains_is_told(study) -> None:
    manifest = study(line(0), line(1))
    shutil.copy(manifest.parent / "he/0.png", manifest.parent / "ihc/0.png")
    assert any("H&E and IHC are the same picture" in note for note in look(manifest).notes)


@pytest.mark.parametrize(
    ("parts", "leaks"),
    [
        (("train", "test"), ["train", "test"]),
        (("train", "validation"), ["train", "validation"]),
        (("", "test"), ["train", "test"]),
        (("", "train"), []),
        (("", ""), []),
    ],
)
def test_a_patient_on_both_sides_is_a_leak(study, parts: tuple[str, str], leaks: list[str]) -> None:
    lines = [line(number, patient="Ä 1", part=part) for number, part in enumerate(parts)]
    manifest = study(*lines, line(2, patient="B", part="train"), line(3), line(4, part="test"))
    sides = [
        f"{part} (1 tile: {manifest.parent / f'he/{n}.png'} ({manifest} line {n + 2}))"
        for n, part in enumerate(leaks)
    ]
    assert look(manifest).leaks == ([f"patient Ä 1 is in {' and '.join(sides)}"] if leaks else [])


@pytest.mark.parametrize(
    ("part", "told"),
    [("test", "no tiles are left to train on"), ("", "no tile of grade 0 is left")],
)
def test_data_in_order_that_is_no_training_set_is_said(
    study, part: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = study(*(line(n, patient=f"P{n}", part=part) for n in range(6)))
    assert run(manifest) == 0
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert "not enough to train on" in verdict
    assert told in verdict


PARTS = ("train",) * 5 + ("validation",) * 2 + ("calibration", "test")


@pytest.mark.parametrize(
    ("blank", "possible"),
    [
        ((), "the data can be trained on"),
        ((7, 8), "the data can be trained on"),
        (
            (0, 5),
            "only a student can be trained on it, from a teacher alone: --cross-entropy 0 and a "
            "--method that is neither none nor decoupled; 1 of 5 train tiles with the default split "
            "have no grade, e.g. he/0.png",
        ),
        (
            (5,),
            "only a student can be trained on it, from a teacher; 1 of 2 validation tiles with the "
            "default split have no grade, e.g. he/5.png",
        ),
    ],
    ids=["none", "calibration and test", "training", "validation"],
)
def test_the_verdict_says_which_training_missing_grades_leave(
    study, blank: tuple[int, ...], possible: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grades = ["" if n in blank else GRADE_NAMES[n % 4] for n in range(len(PARTS))]
    lines = [line(n, grades[n], f"P{n}", part) for n, part in enumerate(PARTS)]
    assert run(study(*lines)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"exit code 0: {possible}"


def test_a_manifest_without_a_pixel_size_is_told_so(study) -> None:
    manifest = study(line(0))
    assert "training needs --mpp" in str(look(manifest))
    stated = check_data(str(manifest), CohortSettings(), DataSettings(mpp=0.25))
    assert "0.25 um/px" in str(stated)


def test_the_procedural_cohort_is_counted() -> None:
    report = look("procedural", patients=3, tiles_per_patient=4, tile_px=256)
    assert report.sizes == {(256, 256): 2 * len(report.tiles)}
    assert (report.leaks, report.problems) == ([], [])
    assert rows_of(str(report))["all"][-1] == "3"


def test_a_procedural_cohort_too_small_to_be_divided_is_told_so() -> None:
    report = look("procedural", patients=1, tiles_per_patient=4, tile_px=256)
    assert "not enough to train on" in str(report).splitlines()[-1]


@pytest.mark.parametrize("name", ["not here", "."])
def test_what_cannot_be_understood_is_code_2(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / name) == 2
    assert "HE and IHC" in capsys.readouterr().err


def test_a_folder_of_nothing_but_lonely_files_is_listed(bci_folder) -> None:
    folder = bci_folder(train=1, test=0)
    shutil.rmtree(folder / "IHC/train")
    report = look(folder)
    assert len(report.problems) == 4
    assert "none that can be read" in str(report)


def split_of(train: list[int], test: list[int]) -> Split:
    empty = np.array([], dtype=np.intp)
    return Split(np.array(train), empty, empty, np.array(test), "")
