"""The drawn cohort as files: what `napari-hmkd-train mkd` reads, and the truth beside it."""

from __future__ import annotations

import gzip
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from napari_hmkd import sample
from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.biomarkers.attributes import ENCODER, ENCODER_SHA256, PATCH_MPP
from napari_hmkd.biomarkers.encoders import Encoder, find_encoder
from napari_hmkd.output_folder import csv_text
from napari_hmkd.training.claim import claimed
from napari_hmkd.training.console import tracked
from napari_hmkd.training.experiment.provenance import source_digest
from napari_hmkd.training.files import write_csv, write_whole
from napari_hmkd.training.mkd import cohort
from napari_hmkd.training.mkd.cohort.design import FACTORS, SHOWN, CohortDesign
from napari_hmkd.training.mkd.cohort.expression import draw_expression, plan_genes
from napari_hmkd.training.mkd.cohort.factors import Factors, draw_factors, draw_labels
from napari_hmkd.training.mkd.cohort.tissue import Section, draw_patient
from napari_hmkd.training.parallel import in_order, processes

RECORD = "cohort.json"
STATUS = ("negative", "positive")
NOT_DRAWING = ("__init__.py", "slides.py", "writing.py")
"""Files of the packages that draw, without any say in what a tile shows."""


@dataclass(frozen=True)
class CohortFiles:
    """Where the parts of a cohort lie."""

    folder: Path

    @property
    def bags(self) -> Path:
        """Folder of one bag for each case."""
        return self.folder / "bags"

    @property
    def genes(self) -> Path:
        """Cases x genes."""
        return self.folder / "genes.csv.gz"

    @property
    def labels(self) -> Path:
        """Case, patient, and negative or positive for each target."""
        return self.folder / "labels.csv"

    @property
    def factors(self) -> Path:
        """The truth: nothing that is trained may read it."""
        return self.folder / "factors.csv"

    def bag(self, case: str) -> Path:
        """A case's bag."""
        return self.bags / f"{case}.h5"


def case_name(number: int) -> str:
    """What files call patient `number`, whose one case it is."""
    return f"P{number:04d}"


def write_cohort(
    folder: Path, design: CohortDesign, encoder: str = "demo", jobs: int = 1
) -> CohortFiles:
    """Draw a cohort; bags that are there are kept.

    Parameters
    ----------
    folder : Path
        New, or one in which the same cohort was begun.
    design : CohortDesign
    encoder : str
        As `find_encoder` takes it; its tiles are drawn at its size and pixel size.
    jobs : int
        Processes that draw, one core each.

    Raises
    ------
    OutputError
        If the folder holds something else, another process is at work in it, or a file cannot be
        written.
    ModelError
        If there is no such encoder.
    """
    found = _encoder(encoder)
    wanted = {
        "design": asdict(design),
        "definitions": {target.name: target.definition for target in design.targets},
        "encoder": found.name,
        "encoder_sha256": found.sha256,
        "program": source_digest(sample, cohort, without=NOT_DRAWING),
    }
    files = CohortFiles(folder)
    with claimed(folder, RECORD, wanted, "drawn cohort"):
        _write_tables(files, design)
        files.bags.mkdir(exist_ok=True)
        missing = [n for n in range(design.patients) if not files.bag(case_name(n)).is_file()]
        draw = partial(_draw_bag, files, design, encoder)
        several = jobs > 1 and len(missing) > 1
        drawn = (
            in_order(processes(jobs), draw, missing, 2 * jobs) if several else map(draw, missing)
        )
        for _ in tracked(drawn, "Drawing slides", len(missing)):
            pass
    return files


def make_bag(design: CohortDesign, factors: Factors, number: int, encoder: Encoder) -> Bag:
    """What the encoder says about tiles of patient `number`'s section."""
    section = Section(draw_patient(design, factors, number), encoder.patch_px, encoder.mpp)
    corners = section.places(design.tiles_per_patient)
    # One by one: a section's tiles at once would take the memory of a GPU's batch.
    features = [encoder.encode(tile[None]) for tile in section.tiles(corners)]
    said = {
        ENCODER: encoder.name,
        ENCODER_SHA256: encoder.sha256,
        PATCH_MPP: encoder.mpp,
        "level0_mpp": encoder.mpp,
        "tile_px": encoder.patch_px,
        "notice": encoder.model.card.notice,
    }
    return Bag(case_name(number), np.concatenate(features), corners, encoder.patch_px, said)


def _draw_bag(files: CohortFiles, design: CohortDesign, encoder: str, number: int) -> None:
    with threadpool_limits(1):  # small products, and numbers that no machine's cores change
        bag = make_bag(design, draw_factors(design), number, _encoder(encoder))
    write_bag(files.bag(bag.name), bag)


@lru_cache(maxsize=1)
def _encoder(name: str) -> Encoder:
    return find_encoder(name)


def _write_tables(files: CohortFiles, design: CohortDesign) -> None:
    factors = draw_factors(design)
    cases = [case_name(number) for number in range(design.patients)]
    genes = (
        [case, *(f"{value:.4f}" for value in row)]
        for case, row in zip(cases, draw_expression(design, factors).tolist(), strict=True)
    )
    # Without a time, so that the same cohort is the same bytes.
    table = csv_text(("case", *plan_genes(design).names), genes)
    write_whole(files.genes, gzip.compress(table.encode(), mtime=0))
    status = np.array(STATUS)[draw_labels(design, factors)]
    labels = zip(cases, cases, *status.T.tolist(), strict=True)
    names = (target.name for target in design.targets)
    write_csv(files.labels, ("case", "patient", *names), labels)
    truth = zip(cases, *factors.hidden.T.tolist(), *factors.shown.T.tolist(), strict=True)
    shown = (f"{name}_shown" for name in SHOWN)
    write_csv(files.factors, ("case", *FACTORS, *shown), truth)
