"""The evidence is bound to all of the program that decides what its networks learn."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.reached import reached_from, source_of

from napari_hmkd import bags, genes, model, sample, training
from napari_hmkd.training.mkd.evidence import pieces, runner

PACKAGES = tuple(f"{package.__name__}." for package in (bags, genes, model, sample, training))


@pytest.fixture
def covered(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The files that the digest is of."""
    files: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: files.append(path) or b"")
    runner.training_digest()
    return set(files)


def test_all_that_a_piece_reaches_within_these_packages_is_in_the_digest(
    covered: set[Path],
) -> None:
    reached = {name for name in reached_from(pieces.__name__) if f"{name}.".startswith(PACKAGES)}
    assert {"napari_hmkd.genes.table", "napari_hmkd.training.scores.metrics"} <= reached
    assert [name for name in sorted(reached) if source_of(name) not in covered] == []


def test_how_results_are_told_may_change_within_the_evidence(covered: set[Path]) -> None:
    told = {Path(training.__path__[0], name) for name in runner.NOT_TRAINING}
    assert all(path.exists() for path in told)
    assert covered.isdisjoint(told)
