"""A small cohort on disk whose labels both tissue and genes tell."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.bags.bag import Bag, write_bag

FEATURES, GENES, CASES = 16, 24, 40
SOURCE = {"encoder": "tiny", "encoder_sha256": "ab" * 32, "tile_px": 256, "mpp": 0.5}


@dataclass(frozen=True)
class CohortFiles:
    """Where a cohort lies, and what its labels are by case."""

    bags: Path
    genes: Path
    labels: Path
    status: dict[str, int]


def write_table(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def cohort_files(tmp_path_factory: pytest.TempPathFactory) -> CohortFiles:
    """40 cases of 30 patients; `HER2` is 0 or 1, `grade` low, middle or high.

    A third of the patches of a positive case, and ERBB2 with seven other genes, are far from those
    of a negative one.
    Besides, there are a bag that is no case's, a case without genes and one without a label.
    """
    folder, rng = tmp_path_factory.mktemp("Kohorte"), np.random.default_rng(0)
    bags = folder / "bags"
    status = {f"case{number:02d}": number % 2 for number in range(CASES)}
    genes, labels = [], []
    for number, (name, label) in enumerate(status.items()):
        patches = rng.normal(size=(int(rng.integers(3, 9)), FEATURES))
        patches[: len(patches) // 3 + 1, :8] += 4.0 * label
        coords = np.zeros((len(patches), 2), np.int64)
        write_bag(bags / f"{name}.h5", Bag(name, patches, coords, 256, SOURCE))
        expression = rng.normal(size=GENES)
        expression[:8] += 3.0 * label
        genes.append([name, *expression])
        grade = ("low", "middle")[label] if number % 4 < 3 else "high"
        labels.append([name, f"patient{number % 30}", label, grade])
    stray = Bag("stray", np.zeros((2, FEATURES)), np.zeros((2, 2), np.int64), 256, SOURCE)
    write_bag(bags / "stray.h5", stray)
    for name, value in (("without-genes", 1), ("without-label", "")):
        write_bag(bags / f"{name}.h5", stray)
        labels.append([name, name, value, "low"])
    genes.append(["without-label", *rng.normal(size=GENES)])
    names = ["ERBB2", *(f"gene{number}" for number in range(1, GENES))]
    return CohortFiles(
        bags,
        write_table(folder / "genes.csv", ["case", *names], genes),
        write_table(folder / "labels.csv", ["case", "patient", "HER2", "grade"], labels),
        status,
    )
