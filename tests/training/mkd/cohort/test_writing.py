"""A cohort is files that training reads; a call that was cut short goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")
pytest.importorskip("pandas", reason="needs the extra `train`")

from napari_hmkd.bags.bag import find_bags, read_bag
from napari_hmkd.errors import OutputError
from napari_hmkd.genes.reading import read_genes
from napari_hmkd.training.mkd.cases import join_cases
from napari_hmkd.training.mkd.cohort import writing
from napari_hmkd.training.mkd.cohort.design import CohortDesign
from napari_hmkd.training.mkd.cohort.expression import draw_expression, plan_genes
from napari_hmkd.training.mkd.cohort.factors import draw_factors, draw_labels
from napari_hmkd.training.mkd.cohort.writing import CohortFiles, write_cohort
from napari_hmkd.training.mkd.labels import read_labels

TINY = CohortDesign(seed=5, patients=6, tiles_per_patient=2, genes=40, module_genes=4)


@pytest.fixture(scope="module")
def encoder(student_file: Path) -> str:
    return str(student_file)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, encoder: str) -> CohortFiles:
    return write_cohort(tmp_path_factory.mktemp("Kohorte ä") / "drawn", TINY, encoder)


@pytest.mark.parametrize("column", range(3))
def test_training_reads_it(files: CohortFiles, column: int) -> None:
    genes = read_genes(files.genes)
    labels = read_labels(files.labels, TINY.targets[column].name)
    cases, exclusions = join_cases(find_bags(files.bags), genes, labels)
    factors = draw_factors(TINY)
    assert exclusions == []
    assert [case.label for case in cases] == draw_labels(TINY, factors)[:, column].tolist()
    assert genes.genes == plan_genes(TINY).names
    assert genes.values == pytest.approx(draw_expression(TINY, factors), abs=1e-4)


def test_a_bag_says_what_its_patches_are(files: CohortFiles, encoder: str) -> None:
    bag = read_bag(files.bag("P0003"))
    assert bag.features.shape[0] == len(bag.coords) == TINY.tiles_per_patient
    assert bag.patch_px == bag.attributes["tile_px"] == 256
    assert bag.attributes["mpp"] == 4.0
    assert bag.attributes["encoder"] == "random student"
    assert len(bag.attributes["encoder_sha256"]) == 64


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(
    files: CohortFiles, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_bag = writing._draw_bag

    def draw_the_first(*given: Any) -> None:
        if given[-1] == 0:
            draw_bag(*given)

    monkeypatch.setattr(writing, "_draw_bag", draw_the_first)
    same = write_cohort(tmp_path / "same", TINY, encoder)
    other = write_cohort(tmp_path / "other", replace(TINY, seed=6), encoder)
    for name in ("genes", "labels", "factors"):
        content, again, changed = (getattr(one, name).read_bytes() for one in (files, same, other))
        assert content == again
        assert content != changed
    first, second, third = (read_bag(one.bag("P0000")) for one in (files, same, other))
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.coords, second.coords)
    assert not np.array_equal(first.features, third.features)


@pytest.mark.slow
def test_finished_bags_are_kept_and_missing_ones_made(encoder: str, tmp_path: Path) -> None:
    design = replace(TINY, patients=2)
    files = write_cohort(tmp_path / "c", design, encoder)
    kept, lost = files.bag("P0000"), files.bag("P0001")
    before, features = kept.stat().st_mtime_ns, read_bag(lost).features
    lost.unlink()
    write_cohort(tmp_path / "c", design, encoder)
    assert kept.stat().st_mtime_ns == before
    assert np.array_equal(read_bag(lost).features, features)


@pytest.mark.parametrize("change", ["seed", "encoder"])
def test_another_cohort_needs_another_folder(
    files: CohortFiles, encoder: str, other_student_file: Path, change: str
) -> None:
    design = replace(TINY, seed=9) if change == "seed" else TINY
    with pytest.raises(OutputError, match="must not be mixed: name a new folder"):
        write_cohort(
            files.folder, design, str(other_student_file) if change == "encoder" else encoder
        )


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, encoder: str) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is no drawn cohort's folder"):
        write_cohort(tmp_path, TINY, encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
