"""What the drawn cohort is made of: every size and strength, fixed before anything was trained.

Each patient has three hidden factors, independent standard normals. The tissue shows `shared` and
`pathology`, each with an error of the patient's own; the genes show `shared` and `genomic`. The
targets follow all three with stated weights, so that what each side can know is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FACTORS = ("shared", "pathology", "genomic")
SHOWN = ("shared", "pathology")
"""The factors that the tissue shows."""


@dataclass(frozen=True)
class DrawnTarget:
    """A binary label: positive with probability sigmoid(intercept + weights . factors).

    Attributes
    ----------
    name : str
        As in labels.csv.
    weights : tuple of float
        Of the factors, in FACTORS' order; logits per standard deviation.
    intercept : float
        Logit of a patient whose factors are all zero.
    """

    name: str
    weights: tuple[float, float, float]
    intercept: float

    @property
    def definition(self) -> str:
        """What the label is, for model cards and reports."""
        parts = (f"{weight:g} x {name}" for name, weight in zip(FACTORS, self.weights, strict=True))
        return (
            f"{self.name} of a drawn patient: positive with the odds of a logistic model of hidden "
            f"factors ({' + '.join(parts)}; intercept {self.intercept:g}). It borrows the name of a "
            "biomarker and means nothing clinically"
        )


@dataclass(frozen=True)
class CohortDesign:
    """Sizes and strengths of a cohort; with the encoder they determine every number in it.

    Attributes
    ----------
    seed : int
        Cohorts of different seeds share no patient.
    patients, tiles_per_patient : int
        Patient k is the same whatever the number of patients.
    genes : int
        Length of a gene vector.
    module_genes : int
        Genes in each module: one follows `shared`, one `genomic`, the others a nuisance each.
    nuisance_modules : int
        Modules whose factors neither the tissue nor a target knows. Genes outside all modules are noise.
    loadings : tuple of float
        Least and largest correlation (of either sign) of a module's genes with their factor.
    patient_noise : float
        Standard deviation of the error with which a patient's tissue shows a factor.
    region_noise : float
        The same for a region of about 2 mm within it.
    looks_base, looks_noise : tuple of float
        Mean and standard deviation, region by region, of what is drawn of tumour cells, in
        `sample.patient.FACTOR_NAMES`' order: radius in um, variation of size, chromatin, mitotic share.
    looks_slopes : tuple of tuple of float
        What one standard deviation of each factor of SHOWN adds to them.
    """

    seed: int = 71
    patients: int = 360
    tiles_per_patient: int = 16
    genes: int = 2048
    module_genes: int = 96
    nuisance_modules: int = 6
    loadings: tuple[float, float] = (0.35, 0.75)
    patient_noise: float = 0.4
    region_noise: float = 0.5
    looks_base: tuple[float, ...] = (3.75, 0.15, 0.95, 0.014)
    looks_noise: tuple[float, ...] = (0.12, 0.020, 0.030, 0.003)
    looks_slopes: tuple[tuple[float, ...], ...] = (
        (0.45, 0.04, 0.0, 0.0),
        (0.0, 0.0, 0.14, 0.008),
    )
    targets: tuple[DrawnTarget, ...] = field(
        default=(
            DrawnTarget("ER", (2.0, 0.8, 0.8), 0.6),
            DrawnTarget("PR", (1.0, 1.8, 0.6), 0.0),
            DrawnTarget("HER2", (0.8, 0.6, 2.0), -0.6),
        )
    )
