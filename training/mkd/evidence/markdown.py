"""The evidence as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from napari_hmkd.training.experiment.scoring import cell
from napari_hmkd.training.mkd.evidence.scoring import Scores
from napari_hmkd.training.scores.markdown import markdown_table


def auc_table(found: Mapping[str, Scores], what: str, reference: str) -> list[str]:
    """Lines of a table of `score_answers`, by target or direction and title."""
    rows = [
        (
            group,
            title,
            " ".join(f"{value:.3f}" for value in scored["per_seed"]),
            cell(scored["auc"]),
            cell(scored.get("less_reference")),
        )
        for group, scores in found.items()
        for title, scored in scores.items()
    ]
    columns = (what, "approach", "test AUC of each seed", "test AUC", f"less {reference}")
    return markdown_table(columns, rows)


def readout_table(found: Mapping[str, Scores]) -> list[str]:
    """Lines of a table of `score_readouts`, by target and title; a column for each factor."""
    factors = next(iter(next(iter(found.values())).values()))
    rows = [
        (group, title, *(cell(scored[name]) for name in factors))
        for group, scores in found.items()
        for title, scored in scores.items()
    ]
    return markdown_table(("target", "embedding", *factors), rows)
