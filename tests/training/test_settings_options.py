"""Each field of the settings is one option of the command line, with the same default."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from typer.main import get_command

from napari_hmkd.errors import DataError
from napari_hmkd.training.cli import app
from napari_hmkd.training.config import (
    AugmentSettings,
    CohortSettings,
    DistillationSettings,
    EngineSettings,
    OptimiserSettings,
    ParallelComputeSettings,
    SplitSettings,
    StoredDataSettings,
    TrainSettings,
)


def options(command: str) -> dict[str, object]:
    parameters = get_command(app).commands[command].params
    return {parameter.opts[0]: parameter.default for parameter in parameters}


def test_the_student_s_options_are_the_settings_with_their_defaults() -> None:
    found = options("student")
    for group in fields(TrainSettings):
        settings = getattr(TrainSettings(), group.name)
        for item in fields(settings):
            flag = "--" + (item.metadata["name"] or item.name).replace("_", "-")
            assert found.pop(flag) == getattr(settings, item.name), flag
    assert found.keys() == {"data", "--teacher", "--out", "--resume"}


def test_the_teacher_has_no_distillation_and_evaluate_no_training() -> None:
    assert {"--logits-kl", "--method", "--student"}.isdisjoint(options("teacher"))
    assert {"--epochs", "--optimiser", "--width"}.isdisjoint(options("evaluate"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        *[
            (f"--{part}-share", "At most 0.5; rounded to 1/2, 1/3, 1/4, ...")
            for part in ("validation", "calibration", "test")
        ],
        ("--memory-gb", "in each process"),
        ("--labels", "a manifest's are as it gives them"),
        ("--student-weights", "timm's mean and std"),
    ],
)
def test_the_help_says_what_could_be_taken_otherwise(option: str, said: str) -> None:
    parameters = get_command(app).commands["student"].params
    (text,) = [parameter.help for parameter in parameters if option in parameter.opts]
    assert said in text


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        (EngineSettings, {"epochs": 0}, "--epochs must be at least 1, got 0"),
        (ParallelComputeSettings, {"batch_size": 0}, "--batch-size must be at least 1, got 0"),
        (ParallelComputeSettings, {"nodes": 0}, "--nodes must be at least 1, got 0"),
        (SplitSettings, {"folds": 1}, "--folds is 0 or at least 2"),
        (SplitSettings, {"folds": 5, "fold": 5}, "--folds 5 --fold 5"),
        (SplitSettings, {"test_share": 0.5, "validation_share": 0.4}, "sum to less than 1"),
        (SplitSettings, {"test_share": 0.6}, "--test-share must be 0 to 0.5, got 0.6"),
        (SplitSettings, {"validation_share": 0.51}, "--validation-share must be 0 to 0.5"),
        (SplitSettings, {"calibration_share": 0.9}, "--calibration-share must be 0 to 0.5"),
        (SplitSettings, {"test_share": math.nan}, "--test-share must be 0 to 0.5, got nan"),
        (SplitSettings, {"split_seed": -1}, "--split-seed must be 0 to"),
        (CohortSettings, {"seed": -1}, "--cohort-seed must be at least 0, got -1"),
        (StoredDataSettings, {"memory_gb": -1.0}, "--memory-gb must be at least 0"),
        (StoredDataSettings, {"memory_gb": math.inf}, "--memory-gb must be finite, got inf"),
        (AugmentSettings, {"shift_px": -1}, "--shift-px must be at least 0, got -1"),
        (AugmentSettings, {"stain_jitter": math.inf}, "--stain-jitter must be 0 to 1, got inf"),
        (DistillationSettings, {"rival_weight": -1.0}, "--rival-weight must be 0 to"),
        (DistillationSettings, {"temperature": math.nan}, "--temperature must be"),
        (OptimiserSettings, {"learning_rate": -1.0}, "--learning-rate must be"),
        (OptimiserSettings, {"learning_rate": math.nan}, "--learning-rate must be"),
        (EngineSettings, {"gradient_clip": -1.0}, "--gradient-clip must be at least 0, got -1"),
        (EngineSettings, {"patience": -1}, "--patience must be at least 0"),
        (EngineSettings, {"seed": -1}, "--seed must be 0 to 4294967295, got -1"),
        (SplitSettings, {"split_seed": 10**10}, "0 to 4294967295, got 10000000000"),
    ],
)
def test_settings_out_of_range_are_refused(group, values, message) -> None:
    with pytest.raises(DataError, match=message):
        group(**values)
