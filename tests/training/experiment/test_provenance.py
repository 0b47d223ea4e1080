"""An experiment is bound to the program that trains its networks, and to no other part of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.reached import reached_from

from napari_hmkd.training.experiment import provenance

CHANGES = {
    "engine.py": True,
    "experiment/pieces.py": True,
    "experiment/plan.py": True,
    "experiment/scoring.py": False,
    "mkd/engine.py": False,
    "scores/page.py": False,
}
"""Whether another experiment begins where the file is changed."""


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the place of this project's training."""
    for name in ("__init__.py", *CHANGES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one = 1\n", encoding="utf-8")
    package = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(provenance, "training", package)
    return tmp_path


@pytest.mark.parametrize(("name", "another"), CHANGES.items())
def test_what_trains_no_grader_may_change_within_an_experiment(
    training: Path, name: str, another: bool
) -> None:
    before = provenance.program_digest()
    (training / name).write_text("one = 2\n", encoding="utf-8")
    assert (provenance.program_digest() != before) == another


def test_the_experiment_imports_nothing_of_mkd() -> None:
    found = reached_from("napari_hmkd.training.experiment.runner")
    assert {"napari_hmkd.training.workflow", "napari_hmkd.model.teacher"} <= found
    assert [name for name in found if "mkd" in name.split(".")] == []
