"""The curves of a run, read from its `metrics.csv` and drawn as it grows."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours that stand out from a dark and from a light window.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
TOTAL, KAPPA = "train_loss", "validation_kappa"
_FONT = 8
_MIN_HEIGHT_PX = 280

Curves = dict[str, np.ndarray]


def read_curves(path: Path) -> Curves:
    """Read the columns of a run's table of metrics.

    Parameters
    ----------
    path : Path
        A `metrics.csv`, which may be missing.

    Returns
    -------
    dict of str to ndarray
        A float64 array (epochs,) per column, NaN where a cell is empty; empty where there is nothing to
        read yet.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error, UnicodeDecodeError):
        return {}  # not yet there, or being replaced: the next look will find it
    names = [name for name in rows[0] if name] if rows else []
    return {name: np.array([_number(row[name]) for row in rows], np.float64) for name in names}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


class TrainCurves(FigureCanvasQTAgg):
    """Training loss and its parts over epochs, and the validation kappa below."""

    def __init__(self) -> None:
        self.figure = Figure(layout="constrained")
        super().__init__(self.figure)
        self.setMinimumHeight(_MIN_HEIGHT_PX)
        self.loss, self.kappa = self.figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        self._background, self._text = "white", "black"
        self._path: Path | None = None
        self._seen: tuple[int, int, int] | None = None
        self.curves: Curves = {}
        self._draw()

    def set_colours(self, background: str, text: str) -> None:
        """Take the window's colours."""
        self._background, self._text = background, text
        self._draw()

    def show_run(self, path: Path) -> None:
        """Show another run's `metrics.csv`, from what is there already."""
        self._path, self._seen, self.curves = path, None, {}
        self._draw()
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._path is None or (seen := _state(self._path)) == self._seen:
            return
        self._seen, self.curves = seen, read_curves(self._path)
        self._draw()

    def _draw(self) -> None:
        self.figure.set_facecolor(self._background)
        for axes in (self.loss, self.kappa):
            axes.clear()
            self._dress(axes)
        epochs = self.curves.get("epoch", np.empty(0))
        names = [n for n in self.curves if n.startswith("train_") and n != TOTAL]
        for name, colour in zip(names, COLOURS * len(names), strict=False):
            self._line(self.loss, epochs, name, colour, 1.0)
        self._line(self.loss, epochs, TOTAL, self._text, 1.8)
        self._line(self.kappa, epochs, KAPPA, COLOURS[0], 1.8)
        self._label(len(epochs))
        self.draw_idle()

    def _line(self, axes: Axes, epochs: np.ndarray, name: str, colour: str, width: float) -> None:
        values = self.curves.get(name)
        if values is None or not np.isfinite(values).any():
            return
        label = name.removeprefix("train_").replace("_", " ")
        # One epoch has no line, only a dot.
        marker = "o" if len(epochs) < 40 else ""
        axes.plot(
            epochs, values, color=colour, linewidth=width, label=label, marker=marker, markersize=3
        )

    def _label(self, epochs: int) -> None:
        if not epochs:
            for axes in (self.loss, self.kappa):
                axes.set_axis_off()
            self.figure.suptitle(
                "Curves appear after the first epoch.", color=self._text, fontsize=_FONT + 1, y=0.5
            )
            return
        self.figure.suptitle("")
        self.loss.set_ylabel("training loss")
        self.loss.tick_params(labelbottom=False)
        self.loss.set_ylim(bottom=min(0.0, self.loss.get_ylim()[0]))
        self.loss.legend(
            fontsize=_FONT - 1, frameon=False, labelcolor=self._text, ncols=2,
            loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0,
        )  # fmt: skip
        self.kappa.set_ylabel("validation kappa")
        self.kappa.set_ylim(min(0.0, self.kappa.get_ylim()[0]), 1.0)
        self.kappa.set_xlabel("epoch")
        self.kappa.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))

    def _dress(self, axes: Axes) -> None:
        axes.set_facecolor(self._background)
        axes.tick_params(colors=self._text, labelsize=_FONT)
        for item in (axes.xaxis.label, axes.yaxis.label):
            item.set(color=self._text, fontsize=_FONT)
        for side, spine in axes.spines.items():
            spine.set(color=self._text, visible=side in ("left", "bottom"))
        axes.grid(color=self._text, alpha=0.15)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written to or replaced, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
