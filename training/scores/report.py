"""The scores of graders as one dictionary, ready for JSON, the page and the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import DRAWS, Floats
from napari_hmkd.grade_tables import cross_tables, quadratic_kappa
from napari_hmkd.model import ModelCard
from napari_hmkd.training.run import versions
from napari_hmkd.training.scores.bootstrap import DECIMALS, PatientBootstrap, clusters_of
from napari_hmkd.training.scores.calibration import probabilities, temperature_remarks
from napari_hmkd.training.scores.metrics import (
    CALIBRATION_BINS,
    accuracy,
    calibration_bins,
    calibration_gaps,
    expected_calibration_error,
    f1_per_grade,
    macro_f1,
    ranked,
    roc_auc,
    weighted_f1,
)
from napari_hmkd.training.scores.predictions import Predictions
from napari_hmkd.training.tiles import GRADES, Tile
from napari_hmkd.wording import GRADE_NAMES

SCALARS = {
    "quadratic_weighted_kappa": "quadratic weighted kappa",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "auc": "one-vs-rest AUC, macro",
    "ece_before": "calibration error, raw",
    "ece_after": "calibration error, temperature-scaled",
    "coverage": "conformal coverage",
    "mean_set_size": "conformal set size",
}
PART_NOTES = {
    "test": "tiles held out of training, of the choice of the checkpoint and of calibration",
    "validation": "these tiles picked the checkpoint: the scores are optimistic",
    "calibration": (
        "these tiles fitted temperature and thresholds: calibration error and coverage are "
        "optimistic"
    ),
    "train": "the models learned from these tiles: the scores say nothing about other tissue",
}
CONFUSION_AXES = "rows: label, columns: predicted; 0, 1+, 2+, 3+"
_NO_PROBABILITIES = "this grader gives grades without probabilities"
_NO_SETS = "no conformal thresholds were fitted"


def report(
    tiles: Sequence[Tile],
    predictions: Mapping[str, Predictions],
    cards: Mapping[str, ModelCard],
    *,
    part: str,
    **about: Any,
) -> dict[str, Any]:
    """Scores of several graders of the same tiles; tiles without a label are not scored.

    Parameters
    ----------
    tiles : n tiles
    predictions : mapping of grader to answers for n tiles
    cards : mapping of grader to its card
        Graders without a network, as the oracle, have none.
    part : {"train", "validation", "calibration", "test"}
        Which part of the split the tiles are.
    **about
        More that a reader has to know, such as `data` and `split`.
    """
    labelled = np.array([tile.grade is not None for tile in tiles], bool)
    chosen = [tile for tile in tiles if tile.grade is not None]
    clusters = clusters_of(chosen)
    truth = np.array([tile.grade for tile in chosen], np.intp)
    notices = dict.fromkeys(card.notice for card in cards.values() if card.notice)
    counts = np.bincount(truth, minlength=GRADES).tolist()
    return {
        "notice": "; ".join(notices),
        "part": part,
        "part_note": PART_NOTES[part],
        "split": "",
        **about,
        "tiles": len(chosen),
        "tiles_without_label": len(tiles) - len(chosen),
        "patients": clusters.patients,
        "tiles_per_grade": dict(zip(GRADE_NAMES, counts, strict=True)),
        "intervals": clusters.sentence,
        "confusion_axes": CONFUSION_AXES,
        "graders": {
            name: grader_scores(found.of(labelled), truth, clusters.names, cards.get(name))
            for name, found in predictions.items()
        },
        "models": {name: asdict(card) for name, card in cards.items()},
        "versions": versions(),
    }


def with_interval(score: Mapping[str, Any]) -> str:
    """A score and its interval, where it has one: `0.812 [0.755, 0.861]`, or `undefined`."""
    if score["value"] is None:
        return "undefined"
    value, interval = f"{score['value']:.3f}", score["interval_95"]
    return value if interval is None else f"{value} [{interval[0]:.3f}, {interval[1]:.3f}]"


def footnotes(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why scores or intervals are missing, and draws left out of an interval, each with its scores.

    Parameters
    ----------
    scores : mapping of title to what `PatientBootstrap.score` gave
    """
    found: dict[str, list[str]] = {}
    for title, score in scores.items():
        note = score.get("reason")
        if note is None and (missing := score.get("undefined_draws")):
            note = f"the interval leaves out {missing} of {DRAWS} draws as undefined"
        if note:
            found.setdefault(note, []).append(title)
    return [f"{note} ({', '.join(titles)})" for note, titles in found.items()]


def told_once(said: Mapping[str, Iterable[str]], everyone: str) -> list[str]:
    """Sentences about several things, each once, behind the names of all that it is about.

    Parameters
    ----------
    said : mapping of name to sentences
    everyone : str
        Stands for the names where there are more than two, and a sentence is about them all.
    """
    about: dict[str, dict[str, None]] = {}
    for name, sentences in said.items():
        for sentence in sentences:
            about.setdefault(sentence, {})[name] = None
    return [
        f"{everyone if len(names) == len(said) > 2 else ', '.join(names)}: {sentence}"
        for sentence, names in about.items()
    ]


def grader_scores(
    found: Predictions,
    truth: NDArray[np.integer],
    groups: Sequence[str],
    card: ModelCard | None = None,
) -> dict[str, Any]:
    """Every score of one grader, each with its interval over groups.

    Parameters
    ----------
    found : answers for n tiles
    truth : (n,)
        Labels, 0 to 3.
    groups : (n,)
        What the bootstrap draws: patients.
    """
    bootstrap = PatientBootstrap(groups)
    scores, per_grade = _of_grades(found, truth, bootstrap)
    for more, more_per_grade in (
        _of_probabilities(found, truth, bootstrap),
        _of_sets(found, truth, bootstrap),
    ):
        scores |= more
        for grade, values in enumerate(more_per_grade):
            per_grade[grade] |= values
    confusion = cross_tables(truth, found.grades, GRADES).sum(0).astype(int)
    return {
        **{key: scores[key] for key in SCALARS},
        "per_grade": dict(zip(GRADE_NAMES, per_grade, strict=True)),
        "confusion": confusion.tolist(),
        "confusion_shares": _confusion_shares(found, truth, bootstrap),
        "reliability": _reliability(found, truth, bootstrap),
        "remarks": [] if card is None else _remarks(card),
    }


Scores = tuple[dict[str, Any], list[dict[str, Any]]]


def _of_grades(
    found: Predictions, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> Scores:
    drawn = bootstrap.sums(cross_tables(truth, found.grades, GRADES))
    missing = _missing(truth)
    scores = {
        "quadratic_weighted_kappa": bootstrap.score(
            quadratic_kappa(drawn), "labels and answers are one and the same grade, or none"
        ),
        "accuracy": bootstrap.score(accuracy(drawn), "no tile has a label"),
        "weighted_f1": bootstrap.score(weighted_f1(drawn), "no tile has a label"),
        "macro_f1": bootstrap.score(macro_f1(drawn), missing),
    }
    f1 = f1_per_grade(drawn)
    return scores, [{"f1": bootstrap.score(f1[:, k], missing)} for k in range(GRADES)]


def _confusion_shares(
    found: Predictions, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> list[list[dict[str, Any]]]:
    """For each label, the share of its tiles that were given each grade."""
    return [
        [
            bootstrap.score(
                bootstrap.mean(found.grades == given, truth == label),
                f"no tile is labelled {GRADE_NAMES[label]}",
            )
            for given in range(GRADES)
        ]
        for label in range(GRADES)
    ]


def _of_probabilities(
    found: Predictions, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> Scores:
    if found.probabilities is None or found.logits is None:
        unknown = _unknown(_NO_PROBABILITIES)
        keys = ("auc", "ece_before", "ece_after")
        return {key: unknown for key in keys}, [{"auc": unknown} for _ in range(GRADES)]
    calibrated = np.asarray(found.probabilities, np.float64)
    ranks = ranked(calibrated)
    areas = np.stack([_area(ranks[:, k], truth == k, bootstrap) for k in range(GRADES)])
    missing = _missing(truth)
    scores = {
        "auc": bootstrap.score(areas.mean(0), missing),
        "ece_before": _calibration_error(probabilities(found.logits, 1), truth, bootstrap),
        "ece_after": _calibration_error(calibrated, truth, bootstrap),
    }
    return scores, [{"auc": bootstrap.score(area, missing)} for area in areas]


def _area(scores: Floats, positive: NDArray[np.bool_], bootstrap: PatientBootstrap) -> Floats:
    return bootstrap.each(lambda weights: roc_auc(scores, positive, weights))


def _calibration_error(
    found: Floats, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> dict[str, Any]:
    gaps = bootstrap.sums(calibration_gaps(found, truth))
    drawn = expected_calibration_error(gaps, bootstrap.sums(np.ones(len(truth))))
    return bootstrap.score(drawn, "no tile has a label")


def _of_sets(found: Predictions, truth: NDArray[np.integer], bootstrap: PatientBootstrap) -> Scores:
    keys = ("coverage", "mean_set_size")
    if found.sets is None:
        unknown = _unknown(_NO_PROBABILITIES if found.logits is None else _NO_SETS)
        return ({key: unknown for key in keys}, [{key: unknown for key in keys}] * GRADES)
    values = found.sets[np.arange(len(truth)), truth], found.sets.sum(1)

    def estimates(chosen: NDArray[np.bool_] | None) -> dict[str, Any]:
        return {
            key: bootstrap.score(bootstrap.mean(value, chosen), _missing(truth))
            for key, value in zip(keys, values, strict=True)
        }

    return estimates(None), [estimates(truth == grade) for grade in range(GRADES)]


def _reliability(
    found: Predictions, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> dict[str, list[dict[str, Any]]]:
    """The bins of both reliability diagrams that hold a tile."""
    if found.probabilities is None or found.logits is None:
        return {}
    calibrated = np.asarray(found.probabilities, np.float64)
    both = {"before": probabilities(found.logits, 1), "after": calibrated}
    return {when: _bins(values, truth, bootstrap) for when, values in both.items()}


def _bins(
    values: Floats, truth: NDArray[np.integer], bootstrap: PatientBootstrap
) -> list[dict[str, Any]]:
    number, confidence, correct = calibration_bins(values, truth)
    return [
        {
            "from": round(bin_ / CALIBRATION_BINS, DECIMALS),
            "to": round((bin_ + 1) / CALIBRATION_BINS, DECIMALS),
            "tiles": int((number == bin_).sum()),
            "confidence": round(float(confidence[number == bin_].mean()), DECIMALS),
            "accuracy": bootstrap.score(bootstrap.mean(correct, number == bin_)),
        }
        for bin_ in np.unique(number).tolist()
    ]


def _remarks(card: ModelCard) -> list[str]:
    """What the card says about calibration that could not be done well."""
    always = [
        f"grade {name} belongs to every prediction set: too few calibration tiles had it"
        for name, threshold in zip(GRADE_NAMES, card.conformal_thresholds, strict=False)
        if threshold == 0
    ]
    return [*temperature_remarks(card.temperature), *always]


def _missing(truth: NDArray[np.integer]) -> str:
    """Why a score that needs every grade is undefined."""
    absent = [name for grade, name in enumerate(GRADE_NAMES) if grade not in truth]
    return f"no tile is labelled {', '.join(absent)}" if absent else "all tiles have one label"


def _unknown(reason: str) -> dict[str, Any]:
    return {"value": None, "interval_95": None, "reason": reason}
