"""A whole study, from the files to the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.study.agreement import Agreement, agreement
from napari_hmkd.study.matching import Matches, match
from napari_hmkd.study.model_results import find_results, read_result
from napari_hmkd.study.scores import ScoreTable, case_name, read_scores

AGREEMENT_FILE = "agreement.json"
_NAMED = 5  # names in a warning; the files have all


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was read, what belongs together, and how far it agrees.

    Attributes
    ----------
    source : Path
        The file of scores.
    table : ScoreTable
        What it holds.
    matches : Matches
        The model's values of it; empty without result folders.
    agreement : Agreement
        The numbers.
    """

    source: Path
    table: ScoreTable
    matches: Matches
    agreement: Agreement

    @property
    def notice(self) -> str:
        """The notice of the model's card; empty without a model or where it has none."""
        return self.matches.results[0].notice if self.matches.results else ""

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers has to know about the data."""
        return list(_warnings(self.table, self.matches))


def compare(scores: Path, results: Sequence[Path] = ()) -> Comparison:
    """Compare readers with each other and with the model whose results are given.

    Parameters
    ----------
    scores : Path
        CSV file, see `read_scores`.
    results : sequence of Path
        Result folders of `napari-hmkd-grade`, or folders that hold them.

    Raises
    ------
    DataError
        If the scores are unusable or none, if results are ambiguous or of several models, or if there is
        nothing to compare.
    OutputError
        If results are unusable.
    """
    table = read_scores(scores)
    if not table.scores:
        raise DataError(
            f"{scores} holds no scores ({table.not_scored} rows without one): it needs a line for each case "
            "and reader, with 0, 1+, 2+ or 3+ in the column score"
        )
    matches = match(table.scores, [read_result(folder) for folder in find_results(results)])
    readers = {score.reader for score in table.scores}
    if len(readers) < 2 and not matches.values:
        raise DataError(
            f"asked to compare the scores in {scores}, but found one reader, {readers.pop()}, and no "
            "model's value of a case that was scored: add readers, or name results of "
            "these slides, graded to the end"
        )
    return Comparison(scores, table, matches, agreement(table.scores, matches.values))


def _warnings(table: ScoreTable, matches: Matches) -> Iterator[str]:
    if table.not_scored:
        yield f"rows without a score, left out: {table.not_scored}"
    alone = table.slides_without_patient
    yield from _left_out("slides without a patient, drawn one by one", alone)
    if matches.results or matches.results_without_scores:
        yield from _left_out("slides without results", matches.slides_without_results)
        yield from _left_out("results of another file of that name", matches.results_of_other_files)
        yield from _left_out("results of slides that nobody scored", matches.results_without_scores)
        cases = [case_name(case) for case in matches.cases_without_values]
        yield from _left_out("scored, but without a value of the model", cases)
        regions = [case_name(case) for case in matches.regions_without_scores]
        yield from _left_out("regions that nobody scored", regions)
    for result in matches.results:
        yield from (f"{result.slide}: {warning}" for warning in result.warnings)


def _left_out(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = len(names) - _NAMED
        rest = f"; and {more} more, see {AGREEMENT_FILE}" if more > 0 else ""
        yield f"{what}: {'; '.join(names[:_NAMED])}{rest}"
