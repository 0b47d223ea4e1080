"""A study as lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_hmkd.bootstrap import Estimate
from napari_hmkd.study.agreement import ReaderAndModel
from napari_hmkd.study.comparison import Comparison
from napari_hmkd.study.report import graded_pairs, intervals
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

MEAN = "mean of these pairs"


def lines(comparison: Comparison) -> Iterator[str]:
    """Two tables, why numbers are missing in them, and what has to be said with them."""
    found = comparison.agreement
    rows = [
        (first, second, f"{g.cases}", f"{g.slides}", _percent(g.agreement_percent), _text(g.kappa))
        for first, second, g in graded_pairs(comparison)
    ]
    if found.pairs:
        rows.insert(len(found.pairs), (MEAN, "", "", "", "", _text(found.mean_kappa)))
    header = ("first", "second", "cases", "slides", "same", "quadratic weighted kappa")
    yield from _table([header, *rows])
    if found.with_model:
        yield ""
        yield "the model's mean expected grade less the reader's grade"
        columns = ("reader", "cases", "slides", "bias", "SD", "lower limit", "upper limit")
        yield from _table([columns, *map(_differences, found.with_model)])
    yield ""
    yield from dict.fromkeys(_reasons(comparison))
    yield f"intervals: {intervals(comparison)}"
    yield f"the model's values are {NO_SCORE}; {RESEARCH_ONLY}"
    if comparison.notice:
        yield f"notice: {comparison.notice}"


def _differences(one: ReaderAndModel) -> tuple[str, ...]:
    found = one.expected_grade
    estimates = (found.bias, found.sd, found.lower_limit, found.upper_limit)
    return (one.reader, f"{found.cases}", f"{found.slides}", *map(_text, estimates))


def _reasons(comparison: Comparison) -> Iterator[str]:
    """Why a kappa has no value or no interval, and an SD none where there is a bias."""
    found = comparison.agreement
    for first, second, grades in graded_pairs(comparison):
        if grades.kappa.reason:
            yield f"{first}, {second}: {grades.kappa.reason}"
    if found.pairs and found.mean_kappa.reason:
        yield f"{MEAN}: {found.mean_kappa.reason}"
    for one in found.with_model:
        if one.expected_grade.sd.value is None and one.expected_grade.bias.value is not None:
            yield f"{one.reader}, SD and limits: {one.expected_grade.sd.reason}"


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.interval_95 is None:
        return f"{estimate.value:.2f}"
    low, high = estimate.interval_95
    return f"{estimate.value:.2f} [{low:.2f}, {high:.2f}]"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} %"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
