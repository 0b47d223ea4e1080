"""What is said of the genes that networks could see, of ERBB2 above all."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.mkd.conftest import CohortFiles
from tests.training.mkd.runs import ONE_EPOCH, request

from napari_hmkd.training.mkd import run
from napari_hmkd.training.mkd.config import GeneSettings
from napari_hmkd.training.mkd.gene_notes import gene_notes

COULD = "could be chosen: HER2 status can be read off it"


@pytest.mark.parametrize(
    ("genes", "ranking", "exclude", "said"),
    [
        (["ERBB2", "TP53"], None, "", f"ERBB2 is among the genes that {COULD}"),
        (["ERBB2", "TP53"], ["TP53", "ERBB2"], "", f"ERBB2 is among the genes that {COULD}"),
        (["ERBB2", "TP53"], ["TP53"], "", "ERBB2 is not in the ranking: no network saw it"),
        (["ERBB2", "TP53"], None, "ERBB2", "ERBB2 was left out: no network saw it"),
        (["ERBB2", "TP53"], ["TP53"], "ERBB2", "ERBB2 was left out: no network saw it"),
        (["ERBB2|2064", "TP53"], None, "ERBB2", "in the table as ERBB2|2064, was left out"),
        (["erbb2", "TP53"], None, "", f"in the table as erbb2, is among the genes that {COULD}"),
        (["?|2064", "TP53"], None, "", f"in the table as ?|2064, is among the genes that {COULD}"),
        (
            ["ENSG00000141736.14", "TP53"],
            None,
            "",
            f"in the table as ENSG00000141736.14, is among the genes that {COULD}",
        ),
        (
            ["ENSG00000141736", "TP53"],
            ["TP53"],
            "",
            "in the table as ENSG00000141736, is not in the ranking",
        ),
        (
            ["ENSG00000141736", "TP53"],
            None,
            "ENSG00000141736",
            "in the table as ENSG00000141736, was left out",
        ),
        (["GRB7", "TP53"], None, "", "ERBB2 is not in the table under that symbol"),
        (["ERBB2IP", "X|12064"], None, "", "ERBB2 is not in the table under that symbol"),
    ],
)
def test_erbb2_is_said_to_be_what_it_is(
    genes: list[str], ranking: list[str] | None, exclude: str, said: str
) -> None:
    notes = gene_notes(genes, ranking, GeneSettings(exclude_genes=exclude))
    (about,) = [note for note in notes if "ERBB2" in note and not note.startswith("Genes:")]
    assert said in about


def test_each_gene_that_stands_for_erbb2_is_told_by_itself() -> None:
    notes = gene_notes(["ERBB2", "ENSG00000141736"], None, GeneSettings(exclude_genes="ERBB2"))
    assert notes[-2:] == [
        "ERBB2 was left out: no network saw it.",
        f"ERBB2, in the table as ENSG00000141736, is among the genes that {COULD}.",
    ]


def test_what_was_chosen_from_and_what_was_left_out_is_told() -> None:
    settings = GeneSettings(top_genes=5, exclude_genes="ERBB2, GRB7")
    first, _ = gene_notes(["ERBB2", "GRB7", "TP53"], None, settings)
    assert first.startswith("Genes: at most 5 of the largest variance")
    assert first.endswith("left out: ERBB2, GRB7.")


def test_that_erbb2_can_be_chosen_is_told_before_training(
    cohort_files: CohortFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_train", lambda *_: False)  # as if time were up
    assert run.train_mkd(request(cohort_files), tmp_path / "Lauf", ONE_EPOCH) is None
    assert "ERBB2 is among the genes that could be chosen" in capsys.readouterr().err
