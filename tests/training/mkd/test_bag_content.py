"""What tells bags apart, and copies of one bag under several patients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.mkd.conftest import CohortFiles
from tests.training.mkd.runs import WITHOUT_GENES, request

from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.bag_content import content_digests, copies_of_others
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.run import train_mkd

BAG = Bag(
    "a",
    np.random.default_rng(0).normal(size=(40, 6)),
    np.random.default_rng(1).integers(0, 9999, (40, 2)),
    256,
)


def written(path: Path, bag: Bag = BAG) -> Path:
    write_bag(path, bag)
    return path


def digest(path: Path) -> str:
    return content_digests([path])[path]


def test_a_copy_is_known_by_what_it_holds_whatever_it_is_called(tmp_path: Path) -> None:
    first = written(tmp_path / "a.h5")
    other = written(tmp_path / "b.h5", replace(BAG, name="b", attributes={"note": "a longer one"}))
    assert first.read_bytes() != other.read_bytes()
    assert digest(first) == digest(other)


def test_a_leading_axis_of_one_and_compression_do_not_matter(tmp_path: Path) -> None:
    plain, packed = written(tmp_path / "a.h5"), tmp_path / "b.h5"
    with h5py.File(packed, "w") as file:
        file.create_dataset("features", data=BAG.features[None], compression="gzip")
        file.create_dataset("coords", data=BAG.coords[:, ::-1])
    assert digest(packed) == digest(plain)


def with_one_more(values: np.ndarray, patch: int) -> np.ndarray:
    changed = values.copy()
    changed[patch, 0] += 1
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda bag: replace(bag, features=bag.features[:39], coords=bag.coords[:39]),
        *(
            partial(lambda patch, bag: replace(bag, features=with_one_more(bag.features, patch)), n)
            for n in (0, 1, 20, 39)
        ),
        lambda bag: replace(bag, coords=with_one_more(bag.coords, 7)),
    ],
    ids=["one patch less", "patch 0", "patch 1", "patch 20", "patch 39", "place of patch 7"],
)
def test_a_bag_that_was_made_anew_is_told_from_the_old_one(
    change: Callable[[Bag], Bag], tmp_path: Path
) -> None:
    before = digest(written(tmp_path / "a.h5"))
    assert digest(written(tmp_path / "a.h5", change(BAG))) != before


@pytest.mark.parametrize("stored", ["float16", "float32", "float64", ">f4"])
def test_features_are_finite_if_they_are_in_the_type_that_they_are_trained_in(
    stored: str, tmp_path: Path
) -> None:
    kind, paths = np.dtype(stored), [tmp_path / f"{number}.h5" for number in range(3)]
    for number, path in enumerate(paths):
        features = np.full((4, 6), 6e4, kind)
        features[:number, -1] = {2: np.inf, 4: np.nan, 8: 1e39}[kind.itemsize]
        with h5py.File(path, "w") as file:
            file["features"], file["coords"] = features, np.zeros((4, 2))
    assert len(digest(paths[0])) == 16
    message = r"2 of 3 bags .* not finite: 1\.h5 \(1 of 4 patches\), 2\.h5 \(2 of 4 patches\)"
    with pytest.raises(DataError, match=message):
        content_digests(paths)


def test_copies_under_different_patients_are_a_leak_and_others_are_none() -> None:
    owners = {"a": "P1", "b": "P2", "c": "P3", "d": "P3", "e": "P4"}
    cases = [Case(name, patient, (Path(f"{name}.h5"),), 0) for name, patient in owners.items()]
    digests = dict(zip((case.bags[0] for case in cases), "xxyyz", strict=True))
    (told,) = copies_of_others([*cases, *cases], digests)  # a case may belong to two targets
    assert told.startswith("Leak: bags of different patients hold the same patches")
    assert "a.h5 (patient P1) = b.h5 (patient P2)" in told
    assert "c.h5" not in told, "folds keep a patient together"
    assert copies_of_others(cases[1:], digests) == []


def test_copies_of_a_bag_under_two_patients_are_told_at_once_and_in_the_table(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(cohort_files.bags, tmp_path / "bags")
    for copy in ("case05", "case30"):  # case30 is of the patient of case00
        shutil.copy(tmp_path / "bags/case00.h5", tmp_path / f"bags/{copy}.h5")
    asked = request(cohort_files, bags=tmp_path / "bags", gene_table=None)
    train_mkd(asked, tmp_path / "Lauf", WITHOUT_GENES)
    copies = "case00.h5 (patient patient0) = case05.h5 (patient patient5)"
    before, _, _ = capsys.readouterr().err.partition("epoch 1/1")
    assert copies in before
    assert copies in (tmp_path / "Lauf/table.md").read_text(encoding="utf-8")
