"""Pictures of scores as PNG, drawn without pyplot, so that no window system is touched."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

from napari_hmkd.errors import OutputError
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.training.scores.metrics import CALIBRATION_BINS, ranked
from napari_hmkd.training.scores.predictions import Predictions
from napari_hmkd.wording import GRADE_NAMES

_PX_PER_INCH = 96  # a CSS inch
_DPI = 2 * _PX_PER_INCH
_INK, _GREY, _BLUE = "#222222", "#8a8a8a", "#2c7bb6"
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Picture:
    """A PNG for a page: `source` is a data URI, `width` its CSS pixels, `text` says what it shows."""

    source: str
    width: int
    text: str


def pictures(
    scored: Mapping[str, Any], found: Predictions, truth: NDArray[np.integer], level: float | None
) -> list[Picture]:
    """All pictures of one grader; those that need probabilities only where it gives them.

    Parameters
    ----------
    scored : dict
        The grader's part of the report.
    found : answers for the n labelled tiles
    truth : (n,)
        Their labels.
    level : float or None
        Share of prediction sets that were to hold the label; None without sets.
    """
    drawn = [_confusion(scored)]
    if found.probabilities is not None:
        drawn += [_reliability(scored), _roc(scored, found.probabilities, truth)]
    if level is not None:
        drawn.append(_conformal(scored, level))
    return drawn


def new_figure(width: float, height: float, axes: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches with axes side by side, in the style of the page."""
    figure = Figure(figsize=(width, height), layout="constrained")
    made = list(figure.subplots(1, axes, squeeze=False)[0])
    for ax in made:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9, colors=_INK)
    return figure, made


def as_picture(figure: Figure, text: str) -> Picture:
    """A figure for the page."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    return Picture(_data_uri(png.getvalue()), round(figure.get_figwidth() * _PX_PER_INCH), text)


def from_png(path: Path, text: str) -> Picture:
    """A PNG file for the page, a CSS pixel for each of its own.

    Raises
    ------
    OutputError
        If it cannot be read.
    """
    try:
        with Image.open(path) as image:
            width = image.width
        return Picture(_data_uri(path.read_bytes()), width, text)
    except OSError as error:
        raise OutputError(f"the picture {path} cannot be read: {error}. Delete it") from error


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _confusion(scored: Mapping[str, Any]) -> Picture:
    figure, (ax,) = new_figure(4.4, 4.1)
    shares = scored["confusion_shares"]
    filled = np.array([[cell["value"] or 0 for cell in row] for row in shares])
    ax.imshow(filled, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(np.array(scored["confusion"])):
        colour = "white" if filled[row, column] > 0.5 else _INK
        text = f"{count}{_share(shares[row][column])}"
        ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(range(len(GRADE_NAMES)), GRADE_NAMES)
    ax.set_yticks(range(len(GRADE_NAMES)), GRADE_NAMES)
    ax.set(xlabel="grade given", ylabel="label")
    ax.set_title("Tiles, and share of each label", fontsize=10)
    ax.spines[:].set_visible(False)
    text = (
        "Confusion matrix: a row for each label. Right grades lie on the diagonal. Below each share "
        "is its 95 % interval, where patients are enough for one."
    )
    return as_picture(figure, text)


def _share(score: Mapping[str, Any]) -> str:
    """Lines of a share in per cent and of its interval, as far as there are any."""
    if score["value"] is None:
        return ""
    ends = score["interval_95"]
    return f"\n{score['value']:.0%}" + (f"\n{ends[0]:.0%} to {ends[1]:.0%}" if ends else "")


def _roc(
    scored: Mapping[str, Any], found: NDArray[np.floating], truth: NDArray[np.integer]
) -> Picture:
    scores = ranked(np.asarray(found, np.float64))
    figure, (ax,) = new_figure(3.6, 3.4)
    ax.plot((0, 1), (0, 1), color=_GREY, linewidth=0.8, linestyle=":")
    for grade, name in enumerate(GRADE_NAMES):
        area = scored["per_grade"][name]["auc"]["value"]
        if area is None:
            continue
        false, true, _ = roc_curve(truth == grade, rankdata(scores[:, grade]))
        # The palette's light tones need a dark line below them.
        ax.plot(false, true, color=_INK, linewidth=3.0)
        colour, dash = GRADE_COLOURS[grade], _DASHES[grade]
        ax.plot(false, true, color=colour, linewidth=2.0, label=f"{name}: {area:.2f}")
        ax.plot(false, true, color=_INK, linewidth=0.6, linestyle=dash)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    ax.set_title("Each grade against the others", fontsize=10)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(title="AUC", fontsize=9, title_fontsize=9, loc="lower right", frameon=False)
    return as_picture(
        figure, "ROC curves. The nearer to the upper left, the better a grade is told apart."
    )


def _reliability(scored: Mapping[str, Any]) -> Picture:
    figure, axes = new_figure(6.4, 3.4, axes=2)
    names = {"before": "as the network says", "after": "after temperature scaling"}
    for ax, (when, title) in zip(axes, names.items(), strict=True):
        bins = scored["reliability"][when]
        left = [found["from"] for found in bins]
        most = max((found["tiles"] for found in bins), default=1)
        for found in bins:
            share = found["accuracy"]
            # The fuller a bin, the darker its bar.
            strength = 0.25 + 0.75 * found["tiles"] / most
            ax.bar(
                found["from"], share["value"], 1 / CALIBRATION_BINS, align="edge",
                color=_BLUE, alpha=strength, edgecolor="white",
            )  # fmt: skip
            ax.plot(found["confidence"], share["value"], "o", color=_INK, markersize=3)
            if share["interval_95"]:
                ax.vlines(found["confidence"], *share["interval_95"], color=_INK, linewidth=0.8)
        ax.plot((0, 1), (0, 1), color=_INK, linewidth=0.8, linestyle="--")
        error = scored[f"ece_{when}"]["value"]
        shown = "undefined" if error is None else f"{error:.3f}"
        ax.set_title(f"{title}\ncalibration error {shown}", fontsize=10)
        ax.set(xlabel="probability of the grade given", xlim=(min([0.25, *left]), 1), ylim=(0, 1))
    axes[0].set_ylabel("share of tiles graded as labelled")
    text = (
        "Reliability diagrams. A probability means what it says where the dots lie on the dashed "
        "line; below it the network is too sure. The darker a bar, the more tiles. Lines are 95 % "
        "intervals, where patients are enough for one."
    )
    return as_picture(figure, text)


def _conformal(scored: Mapping[str, Any], level: float) -> Picture:
    figure, (left, right) = new_figure(6.4, 3.2, axes=2)
    rows = {"all": scored, **scored["per_grade"]}
    for ax, key in ((left, "coverage"), (right, "mean_set_size")):
        for place, (found, colour) in enumerate(
            zip(rows.values(), ("#c8c8c8", *GRADE_COLOURS), strict=True)
        ):
            _bar(ax, place, found[key], colour)
        ax.set_xticks(range(len(rows)), rows)
    left.axhline(level, color=_INK, linewidth=0.8, linestyle="--")
    left.set(ylim=(0, 1.05), xlabel="label", ylabel="share of sets that hold the label")
    left.set_title(f"Coverage, aimed at {level:.0%} (dashed)", fontsize=10)
    right.set(ylim=(0, 4.2), xlabel="label", ylabel="grades in a set")
    right.set_title("Mean size of the sets", fontsize=10)
    text = (
        "Conformal sets, for all tiles and per label: how often they hold the label, and of how "
        "many grades they are. Lines are 95 % intervals, where patients are enough for one."
    )
    return as_picture(figure, text)


def _bar(ax: Axes, place: int, score: Mapping[str, Any], colour: str) -> None:
    """A score as a bar with its interval; nothing where it is undefined."""
    if score["value"] is None:
        ax.text(place, 0, "none", ha="center", va="bottom", color=_INK)
        return
    ax.bar(place, score["value"], 0.7, color=colour, edgecolor=_INK, linewidth=0.5)
    if score["interval_95"]:
        ax.vlines(place, *score["interval_95"], color=_INK, linewidth=1.5)
