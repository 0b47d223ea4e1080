"""Every method on real networks, this project's and timm's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.model import ModelCard, build_student, build_teacher, build_timm_student
from napari_hmkd.training.config import DistillationSettings, Method
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.methods.registry import make_method

SIDE = 256
GRADE = torch.tensor([1, 3])
WITH_TEACHER = [method for method in Method if method is not Method.NONE]


@pytest.fixture(scope="module")
def teacher() -> Grader:
    torch.manual_seed(0)
    card = ModelCard(name="test", role="teacher", width=0.25, mpp=0.5, tile_px=SIDE)
    return Grader(build_teacher(width=0.25).eval().requires_grad_(False), card)


@pytest.fixture(scope="module")
def taught(teacher: Grader) -> Callable[..., Any]:
    """What the teacher answers, computed once for each precision."""

    @cache
    def answer(attention: bool, precision: str) -> Any:
        with torch.no_grad(), autocast(precision):
            return teacher.network(*tiles(), attention=attention)

    return answer


@pytest.fixture(scope="module")
def students() -> dict[str, torch.nn.Module]:
    torch.manual_seed(1)
    return {
        "own": build_student(width=0.25),
        "timm": build_timm_student("test_resnet", tile_px=SIDE),
    }


def tiles() -> torch.Tensor:
    """Of both stains, two each."""
    return torch.randn(2, 2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["own", "timm"])
@pytest.mark.parametrize("name", list(Method))
def test_a_step_of_each_method(
    students, teacher, taught, name: Method, kind: str, precision: str
) -> None:
    student = students[kind]
    without = {"attention": 0.0} if kind == "timm" and name is Method.HMKD else {}
    settings = DistillationSettings(method=name, **without)
    method = make_method(settings, student, teacher, SIDE)
    student.zero_grad()
    with autocast(precision):
        learnt = student(tiles()[0], attention=method.needs_attention)
        parts = method.parts(learnt, taught(method.needs_attention, precision), GRADE)
    assert parts.keys() == method.weights.keys()
    assert {part.dtype for part in parts.values()} == {torch.float32}
    method.total(parts).backward()
    moved = [weight.grad for module in (student, method) for weight in module.parameters()]
    assert moved
    assert all(grad is not None and grad.isfinite().all() for grad in moved)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        (Method.NONE, {"temperature": 2.0}),
        (Method.HINTON, {"logits_kl": 7.0}),
        (Method.HMKD, {"rival_weight": 2.0}),
        (Method.DECOUPLED, {"temperature": 2.0}),
        (Method.FITNETS, {"attention": 0.0}),
    ],
)
def test_a_setting_that_a_method_does_not_read_is_refused(students, teacher, name, changed) -> None:
    (option,) = changed
    wanted = rf"--method {name.value} does not read --{option.replace('_', '-')}"
    with pytest.raises(DataError, match=wanted):
        make_method(DistillationSettings(method=name, **changed), students["own"], teacher, SIDE)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_each_method_but_none_names_the_missing_teacher(students, name: Method) -> None:
    with pytest.raises(DataError, match=rf"--method {name.value} .*--teacher"):
        make_method(DistillationSettings(method=name), students["own"], None, SIDE)


@pytest.mark.parametrize(
    "settings",
    [
        DistillationSettings(method=Method.NONE),
        DistillationSettings(logits_kl=0, cosine=0, attention=0),
    ],
)
def test_the_label_alone_needs_no_teacher(students, settings: DistillationSettings) -> None:
    method = make_method(settings, students["own"], None, SIDE)
    assert not method.needs_teacher
    assert not list(method.parameters())


def test_attention_of_a_timm_student_is_refused(students, teacher) -> None:
    with pytest.raises(ModelError, match=r"timm:test_resnet has no attention .*--attention 0"):
        make_method(DistillationSettings(), students["timm"], teacher, SIDE)


def test_pooled_features_of_another_width_are_projected(students, teacher) -> None:
    settings = DistillationSettings(attention=0)
    own, timm = (make_method(settings, students[k], teacher, SIDE) for k in ("own", "timm"))
    assert not list(own.parameters())
    assert timm.projection.weight.shape == (112, 96)
    without = make_method(
        DistillationSettings(attention=0, cosine=0), students["timm"], teacher, SIDE
    )
    assert not list(without.parameters())


def test_the_regressor_of_fitnets_fits_the_middle_stages(students, teacher) -> None:
    settings = DistillationSettings(method=Method.FITNETS)
    shapes = [
        tuple(make_method(settings, students[kind], teacher, SIDE).regressor.weight.shape[:2])
        for kind in ("own", "timm")
    ]
    assert shapes == [(32, 32), (32, 48)]


def test_making_a_method_leaves_the_networks_as_they_are(students, teacher) -> None:
    student = students["own"].train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    make_method(DistillationSettings(method=Method.FITNETS), student, teacher, SIDE)
    assert student.training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
