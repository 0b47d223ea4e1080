"""A study's files: `agreement.json` with everything, `pairs.csv` with a row per pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_hmkd.bootstrap import DRAWS
from napari_hmkd.output_folder import FolderKind, csv_text, replaced_folder, write_json
from napari_hmkd.study.comparison import AGREEMENT_FILE, Comparison
from napari_hmkd.study.matching import Matches
from napari_hmkd.study.measures import SEED, GradeAgreement
from napari_hmkd.study.scores import PATIENT, Case, ScoreTable
from napari_hmkd.wording import GRADE_NAMES, NO_SCORE, RESEARCH_ONLY

PAIRS_FILE = "pairs.csv"
STUDY = FolderKind("a study", frozenset({AGREEMENT_FILE}), frozenset({AGREEMENT_FILE, PAIRS_FILE}))
MODEL = "model, grade of most area"
METHODS = {
    "kappa": "Cohen's kappa with quadratic weights (Cohen 1968, Psychol Bull 70:213-220)",
    "table": f"rows: first or reader, columns: second or model; {', '.join(GRADE_NAMES)}",
    "grade_of_most_area": "of the model: the grade that most of the tissue has",
    "expected_grade": (
        "of the model: mean of the tiles' expected grades, weighted by tissue; less the reader's "
        "grade, with bias and limits of agreement, bias -/+ 1.96 SD (Bland & Altman 1986, Lancet "
        "i:307-310)"
    ),
    "consensus": "the grade that more than half of two or more readers give",
}
COLUMNS = (
    "first",
    "second",
    "cases",
    "slides",
    "agreement_percent",
    "kappa",
    "kappa_low_95",
    "kappa_high_95",
    "intervals_over",
    "use",
    "meaning",
    "notice",
)


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `agreement.json` and `pairs.csv`: both, or none.

    Raises
    ------
    OutputError
        If the folder cannot be written, or what is there is no study.
    """
    report = summarise(comparison)
    with replaced_folder(folder, STUDY) as part:
        write_json(part / AGREEMENT_FILE, report)
        text = csv_text(COLUMNS, pair_rows(comparison))
        (part / PAIRS_FILE).write_text(text, encoding="utf-8", newline="")


def summarise(comparison: Comparison) -> dict[str, Any]:
    """Everything about a study, as plain values for JSON."""
    found, matches = comparison.agreement, comparison.matches
    return {
        "use": RESEARCH_ONLY,
        "meaning": f"the model's values are {NO_SCORE}",
        "notice": comparison.notice,
        "warnings": comparison.warnings,
        "intervals": intervals(comparison),
        "seed": SEED,
        "methods": METHODS,
        "scores": _about_scores(comparison.source, comparison.table),
        "model": _about_model(matches),
        "pairs": [asdict(pair) for pair in found.pairs],
        "mean_pairwise_kappa": asdict(found.mean_kappa),
        "readers_with_model": [asdict(one) for one in found.readers_with_model],
        "consensus_with_model": (
            None if found.consensus_with_model is None else asdict(found.consensus_with_model)
        ),
        "cases_without_consensus": _named(found.cases_without_consensus),
        "slides_without_patient": comparison.table.slides_without_patient,
        "slides_without_results": matches.slides_without_results,
        "results_without_scores": matches.results_without_scores,
        "results_of_other_files": matches.results_of_other_files,
        "cases_without_model_value": _named(matches.cases_without_values),
        "regions_without_scores": _named(matches.regions_without_scores),
        "versions": {name: version(name) for name in ("napari-hmkd", "numpy")},
    }


def intervals(comparison: Comparison) -> str:
    """What the intervals know, and what they do not."""
    unit = comparison.agreement.unit
    said = [f"95 % percentile bootstrap over {unit}s, {DRAWS} draws"]
    if unit != PATIENT:
        said.append("no patient is named, so that slides of one patient count as independent")
    return "; ".join([*said, f"with few {unit}s they are too narrow"])


def graded_pairs(comparison: Comparison) -> Iterator[tuple[str, str, GradeAgreement]]:
    """Every two that are compared grade by grade, with their names."""
    found = comparison.agreement
    for pair in found.pairs:
        yield pair.first, pair.second, pair.grades
    for one in found.with_model:
        yield one.reader, MODEL, one.grade_of_most_area


def pair_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    """A tuple of `COLUMNS` per pair; None, an empty field in the file, where there is no number."""
    for first, second, grades in graded_pairs(comparison):
        numbers = (
            grades.agreement_percent,
            grades.kappa.value,
            *(grades.kappa.interval_95 or (None, None)),
        )
        texts = [None if number is None else f"{number:.4f}" for number in numbers]
        said = (f"{comparison.agreement.unit}s", RESEARCH_ONLY, NO_SCORE, comparison.notice)
        yield (first, second, grades.cases, grades.slides, *texts, *said)


def _about_scores(source: Path, table: ScoreTable) -> dict[str, Any]:
    return {
        "file": source.name,
        "readers": sorted({score.reader for score in table.scores}),
        "cases": len({score.case for score in table.scores}),
        "slides": len({score.slide for score in table.scores}),
        "patients": len({score.patient for score in table.scores if score.patient}),
        "scores": len(table.scores),
        "rows_without_score": table.not_scored,
    }


def _about_model(matches: Matches) -> dict[str, Any] | None:
    if not matches.results:
        return None
    first = matches.results[0]
    values = [
        {
            "slide": slide,
            "region": region,
            "expected_grade": value.expected_grade,
            "grade_of_most_area": (
                None if value.grade_of_most_area is None else GRADE_NAMES[value.grade_of_most_area]
            ),
        }
        for (slide, region), value in matches.values.items()
    ]
    return {"name": first.model, "sha256": first.sha256, "values": values}


def _named(cases: Sequence[Case]) -> list[dict[str, str]]:
    return [{"slide": slide, "region": region} for slide, region in cases]
