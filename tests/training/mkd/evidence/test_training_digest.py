"""The evidence is bound to all of the program that decides what its networks learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.reached import reached_from, source_of

from napari_hmkd import bags, genes, model, sample, training
from napari_hmkd.errors import OutputError
from napari_hmkd.training.mkd.evidence import her2st, pieces, runner, spot_bags, spots

PACKAGES = tuple(f"{package.__name__}." for package in (bags, genes, model, sample, training))
TABLES = ("spots.csv", "C2.tsv.gz", "C3.tsv.gz")
Covered = Callable[..., set[Path]]


@pytest.fixture
def covered(monkeypatch: pytest.MonkeyPatch) -> Covered:
    """The files that the digest is of."""

    def of(*also: str) -> set[Path]:
        files: list[Path] = []
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path: files.append(path) or b"")
            runner.training_digest(*also)
        return set(files)

    return of


def test_all_that_a_piece_reaches_within_these_packages_is_in_the_digest(covered: Covered) -> None:
    reached = {name for name in reached_from(pieces.__name__) if f"{name}.".startswith(PACKAGES)}
    assert {"napari_hmkd.genes.table", "napari_hmkd.training.scores.metrics"} <= reached
    files = covered()
    assert [name for name in sorted(reached) if source_of(name) not in files] == []


def test_how_results_are_told_may_change_within_the_evidence(covered: Covered) -> None:
    told = {Path(training.__path__[0], name) for name in runner.NOT_TRAINING}
    assert all(path.exists() for path in told)
    assert covered().isdisjoint(told)


def test_spots_and_their_bags_count_where_they_are_what_is_learned_from(covered: Covered) -> None:
    own = {Path(str(module.__file__)) for module in (her2st, spot_bags, spots)}
    assert covered(*her2st.OWN_SOURCE) - covered() == own


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Goes on with the evidence on spots, which was begun with empty tables and has no pieces."""
    (tmp_path / "her2st").mkdir()
    for name in TABLES:
        (tmp_path / "her2st" / name).touch()
    monkeypatch.setattr(her2st, "PIECES", ())
    for name in ("read_spots", "write_bags", "write_results"):
        monkeypatch.setattr(her2st, name, lambda *_: [])
    run = partial(her2st.run_her2st, tmp_path, tmp_path / "out", jobs=1, minutes=1, device="cpu")
    assert run()
    return run


def test_spots_that_another_version_made_cases_of_are_not_gone_on_with(
    begun: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, plain = Path(str(spots.__file__)), Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: plain(path) + (b"#" if path == changed else b"")
    )
    with pytest.raises(OutputError, match="another version"):
        begun()


@pytest.mark.parametrize("name", TABLES)
def test_other_tables_of_spots_are_not_gone_on_with(
    name: str, begun: Callable[[], bool], tmp_path: Path
) -> None:
    assert begun()
    (tmp_path / "her2st" / name).write_text("other", encoding="utf-8")
    with pytest.raises(OutputError, match="must not be mixed"):
        begun()
