"""What the experiment trains: enough patients, shared by nobody, and fair numbers of tries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.training.config import Labels, Method
from napari_hmkd.training.experiment.pieces import Place, settings_of
from napari_hmkd.training.experiment.plan import (
    FULL,
    QUICK,
    RATE,
    RIVALS,
    SEEDS,
    VARIANTS,
    student,
    teachers,
    tries,
)
from napari_hmkd.training.experiment.scoring import rows_of

SPENT_COHORT_SEEDS = (1, 2, 3, 21)
"""Of patients that were looked at before the experiment was planned."""


@pytest.mark.parametrize("size", [FULL, QUICK], ids=["full", "quick"])
def test_at_least_60_patients_train_and_others_are_tested(size) -> None:
    held = size.validation_share + size.calibration_share
    assert size.train_cohort.patients * (1 - held) >= 60
    assert size.train_cohort.tile_px == size.test_cohort.tile_px


def test_no_patient_serves_twice() -> None:
    seeds = [
        cohort.seed for size in (FULL, QUICK) for cohort in (size.train_cohort, size.test_cohort)
    ]
    assert len(set(seeds)) == 4
    assert set(seeds).isdisjoint(SPENT_COHORT_SEEDS)


def test_every_approach_of_the_main_comparison_has_as_many_tries() -> None:
    assert set(VARIANTS) == {Method.NONE, Method.HINTON, Method.HMKD}
    assert len({len(variants) for variants in VARIANTS.values()}) == 1


@pytest.mark.parametrize("labels", Labels)
def test_the_table_has_what_was_chosen_with_each_seed(labels: Labels) -> None:
    rows = rows_of(labels, [group[-1] for group in tries()])
    assert {title: pieces[0].approach for title, pieces in rows.items()} == {
        "teacher": "teacher",
        "student alone": "none-rate-triple",
        "Hinton KD": "hinton-weight-0.3",
        "HM-KD": "hmkd-cosine-sum",
        "best of 6 rivals": "dist",
        "HM-KD, defaults": "hmkd",
    }
    for pieces in rows.values():
        assert [piece.seed for piece in pieces] == list(SEEDS)
        assert {piece.labels for piece in pieces} == {labels}


def test_chosen_defaults_are_listed_once() -> None:
    rows = rows_of(Labels.TILE, [group[0] for group in tries()])
    assert "HM-KD, defaults" not in rows


def test_tries_know_one_kind_of_labels_and_one_seed() -> None:
    tried = [piece for group in tries() for piece in group]
    assert {(piece.labels, piece.seed) for piece in tried} == {(Labels.TILE, SEEDS[0])}
    rivals = {str(method) for method in RIVALS}
    own = {f"{m}-{v}" if v else str(m) for m, group in VARIANTS.items() for v in ("", *group)}
    assert {piece.approach for piece in tried} == own | rivals


def test_a_student_learns_from_the_teacher_of_its_labels_and_seed() -> None:
    for labels in Labels:
        rows = rows_of(labels, [group[0] for group in tries()])
        for piece in (piece for pieces in rows.values() for piece in pieces):
            if piece.method in (None, Method.NONE):
                assert piece.teacher is None
            else:
                assert piece.teacher in teachers()
                assert (piece.teacher.labels, piece.teacher.seed) == (piece.labels, piece.seed)


def changed(one, other) -> set[str]:
    """Names of the settings that differ, over all groups."""
    before, after = (
        {f"{group}.{name}": value for group, values in asdict(s).items() for name, value in values.items()}
        for s in (one, other)
    )  # fmt: skip
    return {name.partition(".")[2] for name in before if before[name] != after[name]}


@pytest.mark.parametrize("method", VARIANTS)
def test_a_variant_changes_what_it_says_and_nothing_else(tmp_path: Path, method: Method) -> None:
    place = Place(tmp_path, "cpu", 1)
    plain = settings_of(student(Labels.TILE, 0, method), QUICK, place)
    for variant, changes in VARIANTS[method].items():
        found = settings_of(student(Labels.TILE, 0, method, variant), QUICK, place)
        wanted = {"learning_rate" if name == RATE else name for name in changes}
        assert changed(plain, found) - {"name"} == wanted


def test_labels_and_seed_reach_the_settings(tmp_path: Path) -> None:
    found = settings_of(student(Labels.SLIDE, 2, Method.DIST), QUICK, Place(tmp_path, "cpu", 1))
    assert (found.data.labels, found.engine.seed) == (Labels.SLIDE, 2)
    assert found.distillation.method is Method.DIST
    assert found.split.test_share == 0
