"""evaluation.html: one page without links to anything outside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from napari_hmkd.training.scores.pictures import Picture, pictures
from napari_hmkd.training.scores.predictions import Predictions
from napari_hmkd.training.scores.report import SCALARS, footnotes, with_interval
from napari_hmkd.training.sources.opening import AS_GIVEN
from napari_hmkd.training.tiles import Tile
from napari_hmkd.wording import RESEARCH_ONLY

MEANINGS = {
    "quadratic_weighted_kappa": "Agreement with the labels beyond chance; an error of two grades "
    "counts four times one of one grade. 1 is perfect, 0 is chance.",
    "accuracy": "Share of tiles whose grade is the label.",
    "weighted_f1": "Balance of precision and recall, grades weighted by their number of tiles.",
    "macro_f1": "The same with all four grades counting alike.",
    "auc": "How well the probability of a grade ranks its tiles above the others, mean of the four "
    "grades. 1 is perfect, 0.5 is chance.",
    "ece_before": "Mean distance between the probability of the grade given and how often it is "
    "right, over 15 bins. 0 is perfect; few tiles make it too high, and its interval still more, as "
    "a draw holds fewer different tiles.",
    "ece_after": "The same after the network's temperature was set on the calibration tiles.",
    "coverage": "Share of tiles whose conformal set of grades holds the label: what was observed on "
    "these tiles, which other tissue may not repeat.",
    "mean_set_size": "Mean number of grades in a set; 1 would be one grade for each tile.",
}
PER_GRADE = {"f1": "F1", "auc": "AUC", "coverage": "coverage", "mean_set_size": "set size"}
LABELS = {
    "tile": "Labels are each tile's own grade.",
    "slide": "Labels are the grade of the whole slide: a tile need not look like it.",
    AS_GIVEN: "Labels are the grades as the manifest gives them: whether a tile's own or the whole "
    "slide's was not said (--labels).",
}
_NAMED = frozenset(
    "notice part part_note split teacher_split accepted_leaks data labels tiles tiles_without_label "
    "tiles_of_other_parts patients tiles_per_grade intervals confusion_axes graders models "
    "versions".split()
)


def render_page(
    found: Mapping[str, Any],
    tiles: Sequence[Tile],
    predictions: Mapping[str, Predictions],
    attention: Sequence[Picture] = (),
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    found : dict
        What `report` returned.
    tiles, predictions
        What it was made from.
    attention : sequence of Picture
        How it came about in training, see `attention_pictures`.
    """
    labelled = np.array([tile.grade is not None for tile in tiles], bool)
    truth = np.array([tile.grade for tile in tiles if tile.grade is not None], np.intp)
    drawn = {}
    for name, answers in predictions.items():
        model = found["models"].get(name, {})
        level = model["conformal_level"] if answers.sets is not None else None
        drawn[name] = pictures(found["graders"][name], answers.of(labelled), truth, level)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["interval"] = with_interval
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        found=found,
        research=RESEARCH_ONLY,
        labels=LABELS.get(found.get("labels", ""), ""),
        scalars=SCALARS,
        meanings=MEANINGS,
        columns={name: _columns(scored) for name, scored in found["graders"].items()},
        pictures=drawn,
        attention=attention,
        more={key: value for key, value in found.items() if key not in _NAMED},
        notes={name: footnotes(_titled(scored)) for name, scored in found["graders"].items()},
    )


def _columns(scored: Mapping[str, Any]) -> dict[str, str]:
    """The scores per grade that this grader has for at least one of them."""
    rows = scored["per_grade"].values()
    return {
        key: title
        for key, title in PER_GRADE.items()
        if any(row[key]["value"] is not None for row in rows)
    }


def _titled(scored: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every score that the page shows of a grader, by what it is called."""
    columns = _columns(scored)
    return {title: scored[key] for key, title in SCALARS.items()} | {
        f"{title} of {grade}": row[key]
        for key, title in columns.items()
        for grade, row in scored["per_grade"].items()
    }
