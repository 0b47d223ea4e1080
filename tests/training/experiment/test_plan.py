"""What the experiment trains: enough patients, shared by nobody, and every approach with each seed."""

from __future__ import annotations

from collections import Counter

import pytest

from napari_hmkd.training.config import Labels, Method
from napari_hmkd.training.experiment.pieces import Place, settings_of
from napari_hmkd.training.experiment.plan import (
    FULL,
    QUICK,
    RIVALS,
    SEEDS,
    VARIANTS,
    candidates,
    first_students,
    other_seeds,
    student,
    teachers,
)


@pytest.mark.parametrize("size", [FULL, QUICK], ids=["full", "quick"])
def test_at_least_60_patients_train_and_others_are_tested(size) -> None:
    held = size.validation_share + size.calibration_share
    assert size.train_cohort.patients * (1 - held) >= 60
    assert size.train_cohort.seed != size.test_cohort.seed
    assert size.train_cohort.tile_px == size.test_cohort.tile_px


@pytest.mark.parametrize("labels", Labels)
def test_each_approach_has_each_seed_once_the_best_are_chosen(labels: Labels) -> None:
    begun = [p for p in first_students() if p.labels is labels]
    rival, variant = candidates(labels)[0], candidates(labels)[-1]
    everything = begun + other_seeds(rival) + other_seeds(variant)
    counts = Counter(piece.approach for piece in everything)
    chosen = {"none", "hinton", "hmkd", rival.approach, variant.approach}
    assert {name: counts[name] for name in chosen} == dict.fromkeys(chosen, len(SEEDS))
    assert set(counts) - chosen == {str(m) for m in RIVALS[1:]} | {
        f"hmkd-{name}" for name in list(VARIANTS)[:-1]
    }
    assert len({piece.name for piece in everything}) == len(everything)


def test_a_student_learns_from_the_teacher_of_its_labels_and_seed() -> None:
    names = {piece.name for piece in teachers()}
    for piece in first_students():
        alone = piece.method is Method.NONE
        assert (piece.teacher is None) == alone
        assert alone or piece.teacher in names
        assert alone or piece.teacher == f"{piece.labels}-teacher-seed{piece.seed}"


def test_a_variant_changes_what_its_name_says_and_nothing_else(tmp_path) -> None:
    place = Place(tmp_path, "cpu", 1)
    plain = settings_of(student(Labels.TILE, 0, Method.HMKD), QUICK, place)
    for name, changes in VARIANTS.items():
        changed = settings_of(student(Labels.TILE, 0, Method.HMKD, name), QUICK, place)
        differing = {
            item
            for item, value in vars(changed.distillation).items()
            if value != getattr(plain.distillation, item)
        }
        slower = changed.optimiser.learning_rate != plain.optimiser.learning_rate
        assert differing | ({"rate_factor"} if slower else set()) == set(changes)


def test_labels_and_seed_reach_the_settings(tmp_path) -> None:
    piece = student(Labels.SLIDE, 2, Method.DIST)
    found = settings_of(piece, QUICK, Place(tmp_path, "cpu", 1))
    assert (found.data.labels, found.engine.seed) == (Labels.SLIDE, 2)
    assert found.distillation.method is Method.DIST
    assert found.split.test_share == 0
