"""Pictures are decoded as seldom as can be: of BCI's, each time takes minutes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import OutputError
from napari_hmkd.training import workflow
from napari_hmkd.training.config import (
    EngineSettings,
    ExportSettings,
    ParallelComputeSettings,
    StoredDataSettings,
    TrainSettings,
)
from napari_hmkd.training.engine import Engine
from napari_hmkd.training.sources import pairs
from napari_hmkd.training.sources.images import decode

PICTURES = 48


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each picture was decoded."""
    counts: Counter[Path] = Counter()

    def counting(path: Path):
        counts[path] += 1
        return decode(path)

    monkeypatch.setattr(pairs, "decode", counting)
    return counts


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Begins runs, which end when their first epoch has been loaded."""

    def load_all(engine: Engine, task, data, progress) -> None:
        for loader in (data.train_dataloader(), data.val_dataloader()):
            for _ in loader:
                pass

    monkeypatch.setattr(Engine, "fit", load_all)

    def begin(data: Path, out: Path, **stored) -> None:
        settings = TrainSettings(
            data=StoredDataSettings(**stored),
            engine=EngineSettings(epochs=1),
            compute=ParallelComputeSettings(batch_size=2, device="cpu"),
            export=ExportSettings(width=0.25),
        )
        workflow.train(str(data), out, settings, role="teacher")

    return begin


def test_a_run_that_fits_the_memory_decodes_each_picture_once(
    bci_folder, tmp_path: Path, decoded, begun
) -> None:
    begun(bci_folder(train=5), tmp_path / "run")
    assert set(decoded.values()) == {1}
    assert len(decoded) == PICTURES


def test_a_run_keeps_no_more_than_it_may(bci_folder, tmp_path: Path, decoded, begun) -> None:
    begun(bci_folder(train=5), tmp_path / "run", memory_gb=0)
    assert Counter(decoded.values())[1] >= 8  # the test part's
    assert max(decoded.values()) == 2


def test_a_run_with_a_cache_that_is_there_decodes_the_first_pair_alone(
    bci_folder, tmp_path: Path, decoded, begun
) -> None:
    data = bci_folder(train=5)
    begun(data, tmp_path / "first", cache=tmp_path / "cache")
    decoded.clear()
    begun(data, tmp_path / "second", cache=tmp_path / "cache")
    assert len(decoded) == 2
    splits = [(tmp_path / name / "split.csv").read_bytes() for name in ("first", "second")]
    assert splits[0] == splits[1]


@pytest.mark.parametrize("fault", ["a full disk", "a file in the way"])
def test_a_cache_that_cannot_be_written_is_refused_before_pictures_are_compared(
    bci_folder, tmp_path: Path, monkeypatch, decoded, begun, fault: str
) -> None:
    cache = tmp_path / "Zwischenlager"
    if fault == "a full disk":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    else:
        cache.write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be kept in"):
        begun(bci_folder(train=5), tmp_path / "run", cache=cache)
    assert len(decoded) == 2
    assert not (tmp_path / "run").exists()
