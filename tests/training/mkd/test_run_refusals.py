"""What a run refuses, and what it has written then."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.mkd.conftest import CohortFiles
from tests.training.mkd.runs import ONE_EPOCH, WITHOUT_GENES, request

from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.training.mkd import run
from napari_hmkd.training.mkd.config import (
    AdamWSettings,
    CaseTrainerSettings,
    GeneSettings,
    MkdSettings,
)
from napari_hmkd.training.mkd.predict import predict_bags
from napari_hmkd.training.mkd.run import train_mkd

TWO_EPOCHS = replace(WITHOUT_GENES, engine=CaseTrainerSettings(epochs=2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"targets": ("HER2", "HER2")}, "--target HER2 is given twice"),
        ({"targets": ("ER", "Er")}, "--target ER and --target Er are one name to the file systems"),
        ({"targets": ("PR",)}, "has no column PR"),
        ({"targets": ("grade",)}, "have no order"),
        ({"classes": {"ER": ("0", "1")}}, "--classes names ER"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_anything_is_written(
    cohort_files: CohortFiles, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    out = tmp_path / "Lauf"
    with pytest.raises(DataError, match=message):
        train_mkd(request(cohort_files, **changed), out, ONE_EPOCH)
    assert not out.exists()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"encoder": "large"},
            "the encoder large (SHA-256 abababababababab) with patches of 256 px",
        ),
        ({"encoder_sha256": "cd" * 32}, "the encoder tiny (SHA-256 cdcdcdcdcdcdcdcd)"),
        (
            {"mpp": 0.25},
            "the encoder tiny (SHA-256 abababababababab) with patches of 256 px at 0.25",
        ),
    ],
)
def test_bags_of_another_encoder_or_patch_are_refused_in_words(
    cohort_files: CohortFiles, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    bags = tmp_path / "bags"
    shutil.copytree(cohort_files.bags, bags)
    with h5py.File(bags / "case03.h5", "r+") as file:
        file["coords"].attrs.update(other)
    with pytest.raises(DataError) as raised:
        train_mkd(request(cohort_files, bags=bags), tmp_path / "Lauf", ONE_EPOCH)
    message = str(raised.value)
    assert "39 by the encoder tiny (SHA-256 abababababababab) with patches of 256 px" in message
    assert f"1 by {said}" in message
    assert message.count("as case03.h5") == 1
    assert not (tmp_path / "Lauf").exists()


def test_features_that_are_not_finite_are_all_named_before_anything_is_written(
    cohort_files: CohortFiles, tmp_path: Path
) -> None:
    bags = tmp_path / "bags"
    shutil.copytree(cohort_files.bags, bags)
    for name, value in (("case03", np.nan), ("case31", np.inf), ("stray", np.nan)):
        with h5py.File(bags / f"{name}.h5", "r+") as file:
            file["features"][1, 5] = value
    with pytest.raises(DataError, match="2 of 40 bags have features that are not finite") as told:
        train_mkd(request(cohort_files, bags=bags), tmp_path / "Lauf", ONE_EPOCH)
    assert "case03.h5 (1 of " in str(told.value)
    assert "case31.h5 (1 of " in str(told.value)
    assert "stray" not in str(told.value), "it takes no part"
    assert not (tmp_path / "Lauf").exists()


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ({"exclude_genes": "erbb2"}, "asked to leave out erbb2, .* it has ERBB2:"),
        ({"exclude_genes": "gene3,Gene4"}, "asked to leave out Gene4, .* it has gene4:"),
        ({"ranking": "FOO\nBAR\n"}, "no gene is left .* 0 are in the ranking"),
        ({"ranking": "gene3\n", "exclude_genes": "gene3"}, "no gene is left .* 1 are left out"),
    ],
)
def test_genes_that_cannot_be_chosen_are_refused_before_anything_is_written(
    cohort_files: CohortFiles, tmp_path: Path, genes: dict[str, Any], message: str
) -> None:
    if "ranking" in genes:
        (tmp_path / "rank.txt").write_text(genes["ranking"])
        genes = genes | {"ranking": tmp_path / "rank.txt"}
    settings = replace(ONE_EPOCH, genes=replace(ONE_EPOCH.genes, **genes))
    with pytest.raises(DataError, match=message):
        train_mkd(request(cohort_files), tmp_path / "Lauf", settings)
    assert not (tmp_path / "Lauf").exists()


@pytest.mark.parametrize(
    ("changed", "option"),
    [
        ({"genes": GeneSettings(exclude_genes="ERBB2")}, "exclude-genes"),
        ({"genes": GeneSettings(top_genes=12)}, "top-genes"),
        ({"genes": GeneSettings(ranking=Path(__file__))}, "ranking"),
        ({"mkd": MkdSettings(coral=0)}, "coral"),
        ({"mkd": MkdSettings(temperature=2)}, "temperature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_genes_settings_that_nothing_reads_are_refused(
    cohort_files: CohortFiles, tmp_path: Path, changed: dict[str, Any], option: str
) -> None:
    asked = request(cohort_files, gene_table=None)
    with pytest.raises(DataError, match=f"without --genes nothing reads --{option}: leave it out"):
        train_mkd(asked, tmp_path / "Lauf", replace(WITHOUT_GENES, **changed))
    assert not (tmp_path / "Lauf").exists()


@pytest.fixture
def paused(cohort_files: CohortFiles, tmp_path: Path) -> tuple[Path, Path]:
    """Bags of its own, and a run on them that was cut short."""
    bags, out = tmp_path / "bags", tmp_path / "Lauf"
    shutil.copytree(cohort_files.bags, bags)
    asked = request(cohort_files, bags=bags, gene_table=None)
    assert train_mkd(asked, out, TWO_EPOCHS, deadline=time.monotonic()) is None
    return bags, out


def test_bags_that_were_made_anew_are_named_where_a_run_goes_on(
    cohort_files: CohortFiles, paused: tuple[Path, Path], tmp_path: Path
) -> None:
    bags, out = paused
    moved = bags.rename(tmp_path / "moved")
    asked = request(cohort_files, bags=moved, gene_table=None)
    train_mkd(asked, out, TWO_EPOCHS, resume=True, deadline=time.monotonic())
    for name in ("case03", "case31", "stray"):
        with h5py.File(moved / f"{name}.h5", "r+") as file:
            file["features"][1, 0] += 1
    shutil.copy(moved / "case12.h5", moved / "case11.h5")  # of another size
    (moved / "case20.h5").rename(moved / "case20-left.h5")
    with pytest.raises(
        DataError, match=r"4 cases have other bags .*: case03, case11, case20, case31"
    ):
        train_mkd(asked, out, TWO_EPOCHS, resume=True)


def test_a_run_goes_on_where_bags_that_take_no_part_came_or_went(
    cohort_files: CohortFiles, paused: tuple[Path, Path]
) -> None:
    bags, out = paused
    (bags / "stray.h5").rename(bags / "another.h5")
    asked = request(cohort_files, bags=bags, gene_table=None)
    train_mkd(asked, out, TWO_EPOCHS, resume=True, deadline=time.monotonic())


def test_cases_that_do_not_say_what_their_bags_held_are_refused_with_what_helps(
    cohort_files: CohortFiles, paused: tuple[Path, Path]
) -> None:
    bags, out = paused
    header, rest = (out / "cases.csv").read_text(encoding="utf-8").split("\n", 1)
    less = header.replace(",bag_contents", ",else")
    assert less != header
    (out / "cases.csv").write_text(f"{less}\n{rest}", encoding="utf-8")
    asked = request(cohort_files, bags=bags, gene_table=None)
    with pytest.raises(OutputError, match=r"cases\.csv cannot .*'bag_contents'.*in a new folder"):
        train_mkd(asked, out, TWO_EPOCHS, resume=True)


def test_a_loss_that_runs_away_is_named(cohort_files: CohortFiles, tmp_path: Path) -> None:
    wild = replace(ONE_EPOCH, optimiser=AdamWSettings(learning_rate=100, weight_decay=100))
    wild = replace(wild, engine=CaseTrainerSettings(epochs=40, patience=0))
    with pytest.raises(ModelError, match="answers NaN after epoch"):
        train_mkd(request(cohort_files), tmp_path / "wild", wild)


def test_a_run_that_is_being_trained_is_refused_to_another(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked, trained = tmp_path / "Lauf", request(cohort_files, gene_table=None), []

    def start_another(*_: object) -> bool:
        trained.append(out)
        with pytest.raises(OutputError, match=r"another run is at work in .*Lauf: wait"):
            train_mkd(asked, out, WITHOUT_GENES, resume=True)
        return False  # as if time were up

    monkeypatch.setattr(run, "_train", start_another)
    for resume in (False, True):
        assert train_mkd(asked, out, WITHOUT_GENES, resume=resume) is None
    assert trained == [out, out]


def test_a_run_that_is_not_finished_is_refused_by_name(
    cohort_files: CohortFiles, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"finished run .*stopped, but it has no biomarkers"):
        predict_bags(tmp_path / "stopped", cohort_files.bags, None, tmp_path / "P.csv", "cpu")
