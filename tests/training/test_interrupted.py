"""Ctrl-C while a network is trained: an exit code of its own, and a word about what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.config import (
    EngineSettings,
    ExportSettings,
    ParallelComputeSettings,
    SplitSettings,
    TrainSettings,
)
from napari_hmkd.training.engine import EpochSeed
from napari_hmkd.training.workflow import train

SETTINGS = TrainSettings(
    split=SplitSettings(validation_share=0.2, calibration_share=0.2, test_share=0),
    engine=EngineSettings(epochs=3),
    compute=ParallelComputeSettings(batch_size=4, device="cpu"),
    export=ExportSettings(width=0.25),
)


@pytest.fixture
def interrupts_as_before() -> Iterator[None]:
    """Lightning leaves Ctrl-C without effect behind, as its process is about to end."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("interrupts_as_before")
def test_ctrl_c_ends_a_run_with_130_and_says_how_to_go_on(
    bci_folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = EpochSeed.on_train_epoch_start

    def interrupted(self: EpochSeed, trainer: Any, task: Any) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        begin(self, trainer, task)

    monkeypatch.setattr(EpochSeed, "on_train_epoch_start", interrupted)
    with pytest.raises(SystemExit) as ended:
        train(str(bci_folder(train=10)), tmp_path / "run", SETTINGS, role="teacher")
    assert ended.value.code == 128 + signal.SIGINT
    assert "stopped after epoch 1: --resume goes on" in capsys.readouterr().err
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file()
