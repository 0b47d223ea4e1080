"""Spots of two neighbouring sections of a HER2-positive tumour (her2st), and their genes.

Andersson et al. 2021, Nature Communications, doi 10.1038/s41467-021-26271-2: spots of 100 um, 200 um apart.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from napari_hmkd.errors import DataError, reason_of
from napari_hmkd.genes.table import GeneTable

SLIDES = {"C2": "her2st_C2.ome.tif", "C3": "her2st_C3_generic.tif"}
# Protein-coding genes of 17q12-q21.2 from RPL19 to TOP2A, in the order of the chromosome: some 0.5 Mb
# before and 0.7 Mb after ERBB2 (39.2 to 40.4 Mb, GRCh38), the stretch that is amplified with it in part or
# as a whole. Expression of any of them tells of the copies of ERBB2. IKZF3 to TOP2A lie beyond the
# smallest common amplicon and are left out to be on the safe side.
AMPLICON = (
    "RPL19", "STAC2", "FBXL20", "MED1", "CDK12", "NEUROD2", "PPP1R1B", "STARD3", "TCAP", "PNMT", "PGAP3",
    "ERBB2", "MIEN1", "GRB7", "IKZF3", "ZPBP2", "GSDMB", "ORMDL3", "LRRC3C", "GSDMA", "PSMD3", "CSF3",
    "MED24", "THRA", "NR1D1", "MSL1", "CASC3", "RAPGEFL1", "WIPF2", "CDC6", "RARA", "GJD3", "TOP2A",
)  # fmt: skip
LEAST_COUNTS = 1000
"""Spots with fewer counts are no case: the share of one gene among so few is noise. Their tissue counts."""
BLOCK = 5
"""Spots a side in a block of tissue, which stands for a patient in splits and intervals."""
_PER = 1e4


@dataclass(frozen=True)
class Spot:
    """A spot.

    Attributes
    ----------
    section : str
        "C2" or "C3".
    row, column : int
        In the array of spots.
    center_px : tuple of float
        (y, x) on the slide's level 0.
    counts : int
        Of all genes.
    erbb2_cp10k : float
        Counts of ERBB2 per 10,000.
    """

    section: str
    row: int
    column: int
    center_px: tuple[float, float]
    counts: int
    erbb2_cp10k: float

    @property
    def id(self) -> str:
        """As the tables of counts have it."""
        return f"{self.column}x{self.row}"

    @property
    def name(self) -> str:
        """Of the spot among those of both sections, and of its bag."""
        return f"{self.section}_{self.id}"

    @property
    def block(self) -> str:
        """The block of tissue that it lies in."""
        return f"{self.section} {self.row // BLOCK},{self.column // BLOCK}"


def read_spots(data: Path) -> list[Spot]:
    """All spots of both sections, in the order of the file.

    Parameters
    ----------
    data : Path
        The folder with `her2st` and `slides` in it.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    path = data / "her2st" / "spots.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Spot(
                    section=row["section"],
                    row=int(row["y"]),
                    column=int(row["x"]),
                    center_px=(float(row["pixel_y"]), float(row["pixel_x"])),
                    counts=int(row["total_umi"]),
                    erbb2_cp10k=float(row["erbb2_cp10k"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:  # a cut line has None
        raise DataError(
            f"asked for the spots of her2st in {path}, but: {reason_of(error)}; give the folder that holds "
            "her2st/spots.csv, her2st/C2.tsv.gz, C3.tsv.gz and slides/"
        ) from error


def read_expression(data: Path, spots: Sequence[Spot]) -> GeneTable:
    """log(1 + counts per 10,000) of spots, without ERBB2 and its amplicon.

    Those are left out before counts are divided by their sum, in which ERBB2 would show, too.

    Parameters
    ----------
    data : Path
        As of `read_spots`.
    spots : sequence of Spot
        Each with at least one count of another gene.

    Returns
    -------
    GeneTable
        Of the genes that both sections have, in the order of the first.

    Raises
    ------
    DataError
        If a table of counts cannot be read or lacks a spot.
    """
    tables = [_counts(data, section, spots) for section in SLIDES]
    counts = pd.concat(tables, join="inner").drop(columns=list(AMPLICON), errors="ignore")
    values = counts.to_numpy(np.float64)
    values = np.log1p(_PER * values / values.sum(axis=1, keepdims=True))
    return GeneTable(tuple(counts.index), tuple(counts.columns), values.astype(np.float32))


def _counts(data: Path, section: str, spots: Sequence[Spot]) -> pd.DataFrame:
    path = data / "her2st" / f"{section}.tsv.gz"
    names = {spot.id: spot.name for spot in spots if spot.section == section}
    try:
        return pd.read_csv(path, sep="\t", index_col=0).loc[list(names)].rename(index=names)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"asked for the counts of section {section} in {path}, but: {error}"
        ) from error
