"""What the test patients say, and the table that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from napari_hmkd.training.config import Labels, Method
from napari_hmkd.training.console import say
from napari_hmkd.training.experiment.pieces import (
    FAILED_KAPPA,
    Place,
    read_grades,
    validation_kappa,
)
from napari_hmkd.training.experiment.plan import (
    RIVALS,
    SEEDS,
    Piece,
    Size,
    with_each_seed,
)
from napari_hmkd.training.files import write_csv, write_whole
from napari_hmkd.training.run import write_json
from napari_hmkd.training.scores.markdown import markdown_table
from napari_hmkd.training.scores.paired import Grades, paired
from napari_hmkd.training.sources.procedural import ProceduralSource

RESULTS = "results.json"
TABLE = "table.md"
GRADES_FILE = "test_grades.csv"
ORACLE = "oracle"
BEST_RIVAL = f"best of {len(RIVALS)} rivals"
TITLES = {Method.NONE: "student alone", Method.HINTON: "Hinton KD", Method.HMKD: "HM-KD"}
COLUMNS = (
    "labels",
    "approach",
    "settings",
    "validation kappa",
    "test kappa of each seed",
    "test kappa",
    "accuracy",
    "kappa less student alone",
    "kappa less Hinton KD",
)
REFERENCES = (TITLES[Method.NONE], TITLES[Method.HINTON])
Rows = dict[str, list[Piece]]


def rows_of(labels: Labels, chosen: Sequence[Piece]) -> Rows:
    """Rows of the table: a title, and one piece for each seed.

    An approach is what was chosen of its tries. HM-KD's defaults, the published form of its terms,
    are shown too where something else was chosen.
    """
    rows: Rows = {"teacher": [Piece(labels, seed) for seed in SEEDS]}
    for title, best in zip((*TITLES.values(), BEST_RIVAL), chosen, strict=True):
        assert best.method is not None
        rows[title] = with_each_seed(labels, best.method, best.variant)
    defaults = with_each_seed(labels, Method.HMKD)
    if defaults != rows[TITLES[Method.HMKD]]:
        rows[f"{TITLES[Method.HMKD]}, defaults"] = defaults
    return rows


def score(size: Size, place: Place, rows: Mapping[Labels, Rows], about: Mapping[str, Any]) -> None:
    """Write results, grades and table of both kinds of labels, all on the tiles' truth."""
    source = ProceduralSource(size.test_cohort, Labels.TILE)
    truth = np.array([tile.grade for tile in source.tiles])
    patients = [str(tile.patient) for tile in source.tiles]
    columns: dict[str, Grades] = {ORACLE: source.oracle()}
    results: dict[str, Any] = {}
    for labels, table_rows in rows.items():
        kappas = {
            title: [validation_kappa(piece, place) for piece in pieces]
            for title, pieces in table_rows.items()
        }
        graded: dict[str, list[Grades]] = {ORACLE: [columns[ORACLE]]}
        for title, pieces in table_rows.items():
            if min(kappas[title]) > FAILED_KAPPA:
                graded[title] = [read_grades(piece, place) for piece in pieces]
                columns |= {p.name: g for p, g in zip(pieces, graded[title], strict=True)}
        results[str(labels)] = {
            "settings": {title: pieces[0].approach for title, pieces in table_rows.items()},
            "validation_kappa": kappas,
            "test": {
                reference: paired(graded, truth, patients, reference=reference)
                for reference in REFERENCES
                if reference in graded
            },
        }
    said = {
        **about,
        "tiles": len(truth),
        "patients": len(set(patients)),
        "size": asdict(size),
    }
    _write_grades(place, [tile.name for tile in source.tiles], truth, columns)
    write_whole(place.folder / TABLE, table(results, said).encode())
    write_json(place.folder / RESULTS, {**said, **results})
    say(f"{place.folder / TABLE}")


def table(results: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Both halves of the experiment as one Markdown table."""
    seeds = ", ".join(map(str, SEEDS))
    said = (
        f"`{about['command']}`, {about['date']}, {about['hardware']}, program {about['program']}; "
        f"{about['tiles']} test tiles of {about['patients']} patients; mean over the seeds {seeds} "
        "with 95 % intervals over patients and seeds, each for itself."
    )
    rows = []
    for labels, found in results.items():
        sides = [found["test"].get(reference) for reference in REFERENCES]
        scores: dict[str, Any] = next((side["scores"] for side in sides if side), {})
        for title in [ORACLE, *found["validation_kappa"]]:
            kappas, scored = found["validation_kappa"].get(title, []), scores.get(title)
            cells = [labels, title, found["settings"].get(title, ""), _listed(kappas)]
            if scored is None:
                cells += ["failed", "", "", "", ""]
            else:
                cells += [_listed(scored["kappa"].get("per_seed", []))]
                cells += [cell(scored[key]) for key in ("kappa", "accuracy")]
                cells += [cell(_difference(side, title)) for side in sides]
            rows.append(cells)
    return "\n".join([said, "", *markdown_table(COLUMNS, rows)]) + "\n"


def _difference(side: Mapping[str, Any] | None, title: str) -> Mapping[str, Any] | None:
    return None if side is None else side["differences"].get(title, {}).get("kappa")


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def cell(scored: Mapping[str, Any] | None) -> str:
    """A score with its interval, as `PatientBootstrap.score` gives it; empty without one."""
    if scored is None or scored["value"] is None:
        return ""
    interval = scored["interval_95"]
    shown = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{scored['value']:.3f}{shown}"


def _write_grades(
    place: Place, names: Sequence[str], truth: Grades, columns: Mapping[str, Grades]
) -> None:
    """Every network's grade of every test tile, so that other scores can be computed later."""
    rows = zip(names, truth, *columns.values(), strict=True)
    write_csv(place.folder / GRADES_FILE, ("tile", "truth", *columns), rows)
