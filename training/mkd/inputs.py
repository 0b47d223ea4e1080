"""What a run is given, read and joined: bags, genes and labels, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path

import numpy as np

from napari_hmkd.bags.bag import find_bags, read_header
from napari_hmkd.errors import DataError
from napari_hmkd.genes.reading import read_genes
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.mkd.cases import CASE, Case, Exclusion, join_cases
from napari_hmkd.training.mkd.config import GeneSettings, MkdRunSettings
from napari_hmkd.training.mkd.folds import Fold, nested_folds
from napari_hmkd.training.mkd.gene_notes import gene_notes
from napari_hmkd.training.mkd.labels import LabelTable, read_labels
from napari_hmkd.training.mkd.ranking import read_ranking
from napari_hmkd.training.mkd.selection import fit_selection, require_known, usable_genes
from napari_hmkd.training.mkd.sources import BagSource, bag_source
from napari_hmkd.training.run import file_digest
from napari_hmkd.wording import same_name


@dataclass(frozen=True)
class Request:
    """What a run learns from what.

    Attributes
    ----------
    bags : Path
        Folder of bags.
    labels, gene_table : Path
        Tables; without genes only networks that see tissue alone are trained.
    targets : tuple of str
        Columns of the labels.
    classes : mapping of target to tuple of str
        The order of classes, where the table does not show it.
    definitions : mapping of target to str
        What a target means, for the model card.
    baselines : bool
        Whether to train the baselines, too.
    """

    bags: Path
    labels: Path
    targets: tuple[str, ...]
    gene_table: Path | None = None
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)
    baselines: bool = False


@dataclass(frozen=True, eq=False)
class TargetData:
    """The cases of one target, their folds, and all that was left out: cases, slides, bags, genes.

    `definition` is what the target means, in the words of who asked for it, or of the label table.
    """

    labels: LabelTable
    definition: str
    cases: Sequence[Case]
    exclusions: Sequence[Exclusion]
    folds: Sequence[Fold]

    @property
    def name(self) -> str:
        """The target's."""
        return self.labels.target

    @property
    def feature_dim(self) -> int:
        """Features of a patch, the same in all bags."""
        return read_header(self.cases[0].bags[0]).features

    @property
    def cases_left_out(self) -> int:
        """How many cases of the label table could not be used."""
        return sum(one.kind == CASE for one in self.exclusions)

    @property
    def class_counts(self) -> dict[str, int]:
        """How many cases are of each class, by its name."""
        counts = np.bincount(
            [case.label for case in self.cases], minlength=len(self.labels.classes)
        )
        return dict(zip(self.labels.classes, counts.tolist(), strict=True))

    @property
    def summary(self) -> str:
        """The target and its cases in words."""
        counts = ", ".join(f"{count} of class {name}" for name, count in self.class_counts.items())
        return f"{self.name}: {len(self.cases)} cases, {counts}"


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that was read; `identity` says of each part but the bags whether it is the same as before.

    `bags` are the files of those that take part, each once; they are not read yet.
    """

    targets: Sequence[TargetData]
    genes: GeneTable | None
    ranking: Sequence[str] | None
    source: BagSource
    bags: Sequence[Path]
    identity: dict[str, str | None]

    @property
    def cases(self) -> list[Case]:
        """Those of all targets, one after another."""
        return [case for data in self.targets for case in data.cases]

    def notes(self, settings: GeneSettings) -> list[str]:
        """What a reader of the scores has to know of the genes."""
        if self.genes is None:
            return []
        return gene_notes(self.genes.genes, self.ranking, settings)

    def select_genes(self, data: TargetData, fold: Fold, settings: MkdRunSettings) -> GeneSelection:
        """The genes of a fold, chosen and scaled on its training cases."""
        assert self.genes is not None
        return fit_selection(
            self.genes,
            [data.cases[index].genes for index in fold.train],
            top=settings.genes.top_genes,
            ranking=self.ranking,
            exclude=settings.genes.excluded,
            token_genes=settings.genes.token_genes,
        )


def _require_different(targets: Sequence[str]) -> None:
    for first, second in combinations(targets, 2):
        if first == second:
            raise DataError(f"--target {first} is given twice: name each target once")
        # Each has a folder of its own, and what lies in it already is not trained again.
        if same_name(first) == same_name(second):
            raise DataError(
                f"--target {first} and --target {second} are one name to the file systems of Windows and "
                "macOS: train them in separate runs, or rename a column of the label table"
            )


def read_inputs(request: Request, settings: MkdRunSettings) -> Inputs:
    """Read and join everything that a run is given.

    Raises
    ------
    DataError
        If something cannot be read or used, nothing reads a setting, genes to leave out are not in the
        table, or a target or a fold of it has no two classes.
    """
    _require_different(request.targets)
    for option, given in (("classes", request.classes), ("definition", request.definitions)):
        if unknown := sorted(given.keys() - set(request.targets)):
            raise DataError(f"--{option} names {unknown[0]}, which is no --target of this run")
    bags = find_bags(request.bags)
    genes, ranking = _genes(request, settings)
    _refuse_unheeded(settings, genes)
    targets = [_target(name, request, bags, genes, settings) for name in request.targets]
    files = sorted({file for data in targets for case in data.cases for file in case.bags})
    source, path = bag_source(files), settings.genes.ranking
    return Inputs(
        targets=targets,
        genes=genes,
        ranking=ranking,
        source=source,
        bags=files,
        identity={
            "encoder": f"{source.encoder} {source.encoder_sha256} {source.patch_px} {source.mpp}",
            "labels": file_digest(request.labels),
            "genes": None if request.gene_table is None else file_digest(request.gene_table),
            "ranking": None if path is None else file_digest(path),
        },
    )


def _genes(
    request: Request, settings: MkdRunSettings
) -> tuple[GeneTable | None, Sequence[str] | None]:
    """The table and the ranking, of which each fold can choose genes."""
    if request.gene_table is None:
        return None, None
    table, path = read_genes(request.gene_table), settings.genes.ranking
    ranking = None if path is None else read_ranking(path)
    usable_genes(table.genes, ranking, settings.genes.excluded)  # else a fold would tell it
    return table, ranking


def _refuse_unheeded(settings: MkdRunSettings, genes: GeneTable | None) -> None:
    """A study of a setting that does nothing would report a number for it."""
    if genes is not None:
        require_known(settings.genes.excluded, genes.genes)
        return
    for group in (settings.genes, settings.mkd):
        for item in fields(group):
            if getattr(group, item.name) != item.default:
                raise DataError(
                    f"without --genes nothing reads --{item.name.replace('_', '-')}: leave it out, or name "
                    "the table of genes"
                )


def _target(
    name: str,
    request: Request,
    bags: Mapping[str, Path],
    genes: GeneTable | None,
    settings: MkdRunSettings,
) -> TargetData:
    if "." in name:
        raise DataError(
            f"--target {name}: a model's tensors are named TARGET.rest, so that a target has no dot: "
            f"rename the column of {request.labels}"
        )
    labels = read_labels(request.labels, name, request.classes.get(name, ()))
    if len(labels.classes) > 2 and not labels.ordinal:
        raise DataError(
            f"{request.labels}, target {name}: the classes {', '.join(labels.classes)} have no order. "
            f"Say it, from low to high, as --classes {name}={','.join(labels.classes)}"
        )
    cases, exclusions = join_cases(bags, genes, labels)
    folds = nested_folds(cases, settings.folds.folds, settings.folds.fold_seed)
    definition = request.definitions.get(name) or _definition(labels)
    return TargetData(labels, definition, cases, exclusions, folds)


def _definition(labels: LabelTable) -> str:
    order = ", from low to high" if labels.ordinal else ""
    return (
        f"{labels.target} as the label table of the training cases has it "
        f"({' or '.join(labels.classes)}{order})"
    )
