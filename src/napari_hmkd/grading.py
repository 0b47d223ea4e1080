"""Grading a slide from start to end: the one path of the button, the command line and the tests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from napari_hmkd.device import choose_device
from napari_hmkd.errors import ModelError, SlideError
from napari_hmkd.geometry import Region
from napari_hmkd.heatmap import Heatmap
from napari_hmkd.inference import GradedBatch, grade_slide
from napari_hmkd.model import ModelCard, find_model, load
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading
from napari_hmkd.slide import Slide, TissueMask


@dataclass(frozen=True, slots=True, eq=False)
class OpenModel:
    """A network in eval mode with its card, and the file both came from."""

    network: nn.Module
    card: ModelCard
    path: Path

    def sha256(self) -> str:
        """Hash of the weights' file, to name it beyond doubt in results."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_model(name: str | Path = "demo", role: str = "student") -> OpenModel:
    """Load a model by its registered name or its file.

    Parameters
    ----------
    name : str or pathlib.Path
        "demo", or a safetensors file with its card beside it.
    role : str
        "student" to grade, "teacher" to compare attention.

    Raises
    ------
    ModelError
        If there is no such model, it cannot be loaded, or it has another role.
    """
    path = find_model(name)
    network, card = load(path)
    if card.role != role:
        raise ModelError(
            f"asked for a {role}, but {path.name} is a {card.role}; a student grades from H&E alone, "
            "a teacher needs H&E and IHC: choose the other file"
        )
    return OpenModel(network, card, path)


@dataclass(slots=True, eq=False)
class SlideGrading:
    """One slide being graded by one model. It may be run, stopped and run on.

    Attributes
    ----------
    plan : GradePlan
        What is to be done; its slide must stay open.
    model : OpenModel
        The student.
    device : torch.device
        Where it runs.
    heatmap : Heatmap
        The results so far.
    seconds : float
        Time spent in `run` so far.
    """

    plan: GradePlan
    model: OpenModel
    device: torch.device
    heatmap: Heatmap
    seconds: float = field(default=0.0)

    def run(
        self, focus: tuple[float, float] | None = None, view: Region | None = None
    ) -> Generator[GradedBatch, None, None]:
        """Grade the tiles not tried yet; each batch is on the heatmap when it is yielded.

        To follow a moved view, close the iterator and run again.

        Parameters
        ----------
        focus : tuple of float, optional
            (y, x) in level-0 px where to start; row by row, if left out.
        view : Region, optional
            What is on screen, level-0 px, to be graded first.

        Raises
        ------
        DeviceError
            If torch fails, for want of memory or otherwise.
        ModelError
            If the network's answer is not four numbers a tile.
        SlideError
            At the end, if not one tile could be read and graded.
        """
        tiles = self.heatmap.remaining
        if focus is not None:
            tiles = self.plan.grid.nearest_first(tiles, focus, view)
        started = time.perf_counter()
        with closing(grade_slide(self.plan, self.model.network, self.device, tiles)) as batches:
            for batch in batches:
                self.heatmap.update(batch)
                self.seconds += time.perf_counter() - started
                yield batch
                started = time.perf_counter()
        self._require_a_grade()

    def _require_a_grade(self) -> None:
        failed = list(self.heatmap.failed.values())
        if failed and not self.heatmap.graded.any():
            raise SlideError(
                f"asked to grade {self.plan.slide.name}, but none of its {len(failed)} tiles with "
                f"tissue could be; the first failed with: {failed[0].message}; fetch the file again from "
                "where it came, or choose a model that was trained on such tissue"
            )


def start_grading(
    slide: Slide,
    model: OpenModel,
    settings: GradeSettings | None = None,
    tissue: TissueMask | None = None,
) -> SlideGrading:
    """Check slide, model and device, find the tissue, and get ready to run.

    Parameters
    ----------
    slide : Slide
        An open slide.
    model : OpenModel
        A student.
    settings : GradeSettings, optional
        The defaults, if left out.
    tissue : TissueMask, optional
        Where the slide's tissue was found or painted already: it is obeyed.

    Raises
    ------
    DeviceError
        If the device asked for is missing.
    PixelSizeError, UnsuitableSlideError, SlideError
        If the slide cannot be graded; see `plan_grading`.
    """
    settings = settings or GradeSettings()
    device = choose_device(settings.device)
    plan = plan_grading(slide, model.card, settings, tissue)
    return SlideGrading(plan, model, device, Heatmap(plan))
