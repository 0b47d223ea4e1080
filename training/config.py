"""Every setting of training, one frozen dataclass per group: the one home of each default.

The fields become command-line options (`options.py`) and are written to `settings.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.fields import option, require

MOST_SEED = 2**32 - 1  # of numpy's and scikit-learn's generators
MOST_EPOCHS = 1e6
MOST_SHARE = 0.5
ROUNDED = f"At most {MOST_SHARE:g}; rounded to 1/2, 1/3, 1/4, ... of the tiles it is drawn from."
SMALLEST_RATE, LARGEST_WEIGHT = 1e-9, 1e9
WITHOUT_GRADES = "--cross-entropy 0 and a --method that is neither none nor decoupled"


class Labels(StrEnum):
    """Which grade a tile is trained towards."""

    TILE = "tile"
    SLIDE = "slide"


class OptimiserName(StrEnum):
    """Optimisers on offer."""

    SGD = "sgd"
    ADAMW = "adamw"


class Precision(StrEnum):
    """Arithmetic of training; `auto` is bf16-mixed on GPUs that have bfloat16."""

    AUTO = "auto"
    FULL = "32-true"
    BF16 = "bf16-mixed"
    FP16 = "16-mixed"


class Method(StrEnum):
    """What a student learns from; each but `none` needs a teacher."""

    HMKD = "hmkd"
    NONE = "none"
    HINTON = "hinton"
    FITNETS = "fitnets"
    ATTENTION_TRANSFER = "attention-transfer"
    SIMILARITY = "similarity"
    RELATIONAL = "relational"
    DECOUPLED = "decoupled"
    DIST = "dist"


class Reduction(StrEnum):
    """How the cosine term joins the tiles of a batch; the published program sums."""

    MEAN = "mean"
    SUM = "sum"


@dataclass(frozen=True)
class CohortSettings:
    """The procedural cohort; used where DATA is the word `procedural`."""

    seed: int = option(0, "Seed of the procedural patients.", "cohort-seed")
    patients: int = option(40, "Number of procedural patients.")
    tiles_per_patient: int = option(24, "Tiles cut from each patient's slide.")
    tile_px: int = option(512, "Side of a tile in px, a multiple of 256.")

    def __post_init__(self) -> None:
        """Refuse a seed that none of the generators takes."""
        require("cohort_seed", self.seed, 0)


@dataclass(frozen=True)
class DataSettings:
    """Labels and pixel size."""

    mpp: float | None = option(
        None,
        "Pixel size of the tiles in um/px; default: procedural 0.92, BCI 0.46, others must say.",
    )
    labels: Labels | None = option(
        None,
        "What the grades are: the tile's (the default for procedural) or the slide's (BCI's); "
        "left open, a manifest's are as it gives them.",
    )


@dataclass(frozen=True)
class StoredDataSettings(DataSettings):
    """The same, and the home of decoded tiles."""

    cache: Path | None = option(
        None, "Folder that keeps decoded tiles on disk (zarr), shared by teacher and student runs."
    )
    memory_gb: float = option(8.0, "Most memory for decoded tiles in each process, in GB.")

    def __post_init__(self) -> None:
        """Refuse impossible sizes."""
        require("memory_gb", self.memory_gb, 0)


@dataclass(frozen=True)
class SplitSettings:
    """Shares of patients (of tiles, where patients are unknown) held out of training."""

    validation_share: float = option(0.15, f"Share that picks the checkpoint. {ROUNDED}")
    calibration_share: float = option(0.10, f"Share that fits the temperature. {ROUNDED}")
    test_share: float = option(
        0.15,
        f"Share tested once at the end; ignored where the data names its own test part. {ROUNDED}",
    )
    split_seed: int = option(0, "Seed of the split.")
    folds: int = option(0, "Test on one of so many folds instead of on a share; 0: no folds.")
    fold: int = option(0, "Which fold to test on, from 0.")
    accept_leaks: bool = option(
        False, "Train although the same patient or picture is on both sides of the test."
    )

    def __post_init__(self) -> None:
        """Refuse shares too large to be drawn or trained beside, and folds that do not exist."""
        require("split_seed", self.split_seed, 0, MOST_SEED)
        for name in ("validation_share", "calibration_share", "test_share"):
            require(name, getattr(self, name), 0, MOST_SHARE)
        if self.folds == 1 or self.folds < 0 or not 0 <= self.fold < max(self.folds, 1):
            raise DataError(
                f"--fold counts from 0 to --folds less 1, and --folds is 0 or at least 2, got "
                f"--folds {self.folds} --fold {self.fold}"
            )
        shares = (self.validation_share, self.calibration_share, self.test_share)
        if sum(shares) >= 1:
            raise DataError(
                f"the shares of validation, calibration and test must sum to less than 1, got {shares}"
            )
        if not (self.validation_share and self.calibration_share):
            raise DataError("validation and calibration need a share above 0: raise it")


@dataclass(frozen=True)
class AugmentSettings:
    """Changes drawn anew for each tile and epoch; geometry is drawn once for both stains."""

    flips: bool = option(True, "Flip pairs horizontally and vertically.")
    turns: bool = option(True, "Turn pairs by multiples of 90 degrees.")
    shift_px: int = option(16, "Move pairs by up to so many px each way, mirrored at the edge.")
    stain_jitter: float = option(
        0.05,
        "Spread of a factor on haematoxylin, eosin and DAB and of an offset (optical density), drawn "
        "per picture; 0: off.",
    )

    def __post_init__(self) -> None:
        """Refuse amounts out of range."""
        require("shift_px", self.shift_px, 0)
        require("stain_jitter", self.stain_jitter, 0, 1)


@dataclass(frozen=True)
class DistillationSettings:
    """The method and its weights; a term of weight 0 is not computed.

    `logits_kl`, `cosine` and `attention` belong to HM-KD; `rival_weight` to the other methods.
    """

    method: Method = option(Method.HMKD, "What the student learns from, besides the label.")
    cross_entropy: float = option(1.0, "Weight of the cross entropy with the label.")
    logits_kl: float = option(1.0, "Weight of the KL divergence from the teacher's grades.")
    cosine: float = option(1.0, "Weight of the cosine distance of pooled features.")
    attention: float = option(1.0, "Weight of the attention term over three levels.")
    temperature: float = option(5.0, "Temperature T of the KL term, which is scaled by T^2.")
    rival_weight: float | None = option(
        None, "Weight of another method's term; default: its authors'."
    )
    cosine_reduction: Reduction = option(
        Reduction.MEAN, "Join the cosine term over a batch by mean, or by the published sum."
    )

    def __post_init__(self) -> None:
        """Refuse weights and a temperature out of range; the method refuses a loss without a term."""
        for name in ("cross_entropy", "logits_kl", "cosine", "attention", "rival_weight"):
            require(name, getattr(self, name), 0, LARGEST_WEIGHT)
        require("temperature", self.temperature, 0.01, 1000)


@dataclass(frozen=True)
class OptimiserSettings:
    """Optimiser and its schedule: a linear warm-up, then a cosine to zero."""

    optimiser: OptimiserName = option(OptimiserName.SGD, "sgd (published; momentum 0.9) or adamw.")
    learning_rate: float | None = option(None, "Peak learning rate; default: 1e-3.")
    weight_decay: float | None = option(None, "Weight decay; default: sgd 5e-4, adamw 0.05.")
    warmup_epochs: float | None = option(None, "Epochs of linear warm-up; default: sgd 0, adamw 1.")

    def __post_init__(self) -> None:
        """Refuse rates that cannot train."""
        require("learning_rate", self.learning_rate, SMALLEST_RATE, 100)
        require("weight_decay", self.weight_decay, 0, 100)
        require("warmup_epochs", self.warmup_epochs, 0, MOST_EPOCHS)

    def resolved(self) -> OptimiserSettings:
        """The same with every value that was left open filled in for the chosen optimiser."""
        rate, decay, warmup = {
            OptimiserName.SGD: (1e-3, 5e-4, 0.0),
            OptimiserName.ADAMW: (1e-3, 0.05, 1.0),
        }[self.optimiser]
        return replace(
            self,
            learning_rate=rate if self.learning_rate is None else self.learning_rate,
            weight_decay=decay if self.weight_decay is None else self.weight_decay,
            warmup_epochs=warmup if self.warmup_epochs is None else self.warmup_epochs,
        )


@dataclass(frozen=True)
class ComputeSettings:
    """Where to compute, and how many tiles at once."""

    batch_size: int = option(16, "Tiles in a step of each process.")
    device: str = option("auto", "auto takes CUDA, then Apple's MPS, then the CPU.")

    def __post_init__(self) -> None:
        """Refuse an empty batch and a run without a device."""
        for name, value in vars(self).items():
            if name != "device":
                require(name, value, 1)


@dataclass(frozen=True)
class ParallelComputeSettings(ComputeSettings):
    """The same, and over how many processes."""

    devices: int = option(1, "Processes on this machine: GPUs, or parts of the CPU (DDP).")
    nodes: int = option(1, "Machines that train together (DDP).")


@dataclass(frozen=True)
class TrainerSettings:
    """How long and in which arithmetic."""

    epochs: int = option(30, "Passes over the training tiles.")
    seed: int = option(0, "Seed of weights, order and augmentation.")
    gradient_clip: float = option(1.0, "Largest norm of the gradient; 0: no clipping.")
    precision: Precision = option(
        Precision.AUTO, "auto: bf16-mixed on GPUs that have it, 32-true elsewhere."
    )
    patience: int = option(
        0, "Stop after so many epochs without a better validation score; 0: never."
    )

    def __post_init__(self) -> None:
        """Refuse a run without a step."""
        require("seed", self.seed, 0, MOST_SEED)
        require("gradient_clip", self.gradient_clip, 0)
        require("patience", self.patience, 0)
        require("epochs", self.epochs, 1)


@dataclass(frozen=True)
class EngineSettings(TrainerSettings):
    """The same, of networks with attention planes."""

    recompute: bool = option(
        True, "Compute attention planes again for the gradient, to halve the memory."
    )


@dataclass(frozen=True)
class StudentSettings:
    """Which network is the student."""

    student: str = option("hmkd", "hmkd, or a network of timm: `timm:resnet18`.")
    student_weights: Path | None = option(
        None,
        "Local weights of a timm network (.safetensors, .pth), which is then fed with timm's mean "
        "and std for it; default: random.",
    )


@dataclass(frozen=True)
class ExportSettings:
    """The finished model's file."""

    width: float | None = option(
        None, "Relative width of the network; default: teacher 1, student the teacher's."
    )
    name: str | None = option(None, "Name on the model card; default: the run folder's.")
    half: bool = option(False, "Write the weights in half precision.")


@dataclass(frozen=True)
class TrainSettings:
    """All groups of settings of one run."""

    cohort: CohortSettings = field(default_factory=CohortSettings)
    data: StoredDataSettings = field(default_factory=StoredDataSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    compute: ParallelComputeSettings = field(default_factory=ParallelComputeSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
