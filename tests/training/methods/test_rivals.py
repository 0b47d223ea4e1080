"""Each rival's terms on tensors so small that the numbers are worked out on paper."""

from __future__ import annotations

import math

import pytest
import torch

from napari_hmkd.model.outputs import StudentOutput
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods.hmkd import Hmkd
from napari_hmkd.training.methods.rivals import (
    Alone,
    AttentionTransfer,
    Decoupled,
    Dist,
    FitNets,
    Hinton,
    Relational,
    Similarity,
)

ln = math.log
DEFAULT = DistillationSettings()


def output(logits=None, pooled=None, maps=None) -> StudentOutput:
    """An answer of which a test states what its method reads; the teacher's has the same fields."""
    logits = torch.zeros(1, 4) if logits is None else torch.as_tensor(logits, dtype=torch.float32)
    pooled = torch.ones(len(logits), 2) if pooled is None else torch.tensor(pooled)
    return StudentOutput(logits, pooled, pooled, maps or (torch.ones(len(logits), 1, 2, 2),) * 4)


def terms(method, student: StudentOutput, teacher: StudentOutput, grade=(0,)) -> dict[str, float]:
    """The method's terms as numbers, without the cross entropy."""
    parts = method.parts(student, teacher, torch.tensor(grade))
    return {name: part.item() for name, part in parts.items() if name != "cross_entropy"}


def log(*probabilities) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_alone_is_the_cross_entropy() -> None:
    # Four equal logits give each grade 1/4.
    parts = Alone(DEFAULT).parts(output(), None, torch.tensor([2]))
    assert {name: part.item() for name, part in parts.items()} == {
        "cross_entropy": pytest.approx(ln(4))
    }


def test_hinton() -> None:
    # At T = 2 the first tile's student says 1/4 each, its teacher 1/2, 1/4, 1/8, 1/8:
    # KL = 1/2 ln 2 + 1/4 ln 1 + 2 (1/8 ln 1/2) = 1/4 ln 2, times T^2 = 4 is ln 2.
    # On the second tile both agree, so the mean is half of that.
    teacher = torch.stack([2 * log(1 / 2, 1 / 4, 1 / 8, 1 / 8), torch.zeros(4)])
    found = terms(
        Hinton(DistillationSettings(temperature=2)),
        output(torch.zeros(2, 4)),
        output(teacher),
        (0, 0),
    )
    assert found == {"logits_kl": pytest.approx(ln(2) / 2)}


def with_map(place: int, values: torch.Tensor) -> StudentOutput:
    maps = [torch.ones(1, 1, 2, 2)] * 4
    maps[place] = values
    return output(maps=tuple(maps))


def test_fitnets() -> None:
    # The student's 4 x 4 map averages to 1, 2, 3, 4 in quarters. The regressor 2 x + 1 makes that
    # 3, 5, 7, 9 in one channel and x alone 1, 2, 3, 4 in the other; the teacher has 3, 5, 7, 7 and
    # 1, 2, 3, 0: squares 4 and 16 over eight values.
    method = FitNets(DEFAULT, student_channels=1, teacher_channels=2)
    with torch.no_grad():
        method.regressor.weight.copy_(torch.tensor([2.0, 1.0])[:, None, None, None])
        method.regressor.bias.copy_(torch.tensor([1.0, 0.0]))
    quarters = torch.tensor([[1.0, 2], [3, 4]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    quarters[0, 0], quarters[0, 1] = 0.5, 1.5  # the mean stays
    teacher = torch.tensor([[[3.0, 5], [7, 7]], [[1, 2], [3, 0]]])[None]
    found = terms(method, with_map(1, quarters[None, None]), with_map(1, teacher))
    assert found == {"hint": pytest.approx(20 / 8)}


def test_fitnets_looks_at_the_middle_stage_alone() -> None:
    method = FitNets(DEFAULT, 1, 1)
    wanted = terms(method, output(), output())
    for place in (0, 2, 3):
        assert terms(method, with_map(place, torch.zeros(1, 1, 2, 2)), output()) == wanted


def test_attention_transfer() -> None:
    # Squares over the two channels: the student (2, 0, 0, 0), of direction (1, 0, 0, 0); the
    # teacher (3, 4, 0, 0), of direction (0.6, 0.8, 0, 0). Differences 0.4^2 + 0.8^2 = 0.8 over four
    # places are 0.2; the same at two stages, none at the others.
    student = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0]]).reshape(1, 2, 2, 2)
    teacher = torch.tensor([[1.0, 2, 0, 0], [2**0.5, 0, 0, 0]]).reshape(1, 2, 2, 2)
    same = torch.ones(1, 2, 2, 2)
    found = terms(
        AttentionTransfer(DEFAULT),
        output(maps=(student, same, student, same)),
        output(maps=(teacher, 3 * same, 7 * teacher, same)),
    )
    assert found == {"attention_transfer": pytest.approx(0.4)}


def test_similarity() -> None:
    # The student's two tiles are orthogonal: rows (1, 0) and (0, 1), whatever the lengths. The
    # teacher's (2, 0) and (1.5, sqrt 1.75) have the products 4, 3, 3, 4: rows (0.8, 0.6) and
    # (0.6, 0.8). Squares 0.04 + 0.36 + 0.36 + 0.04 over four pairs.
    def tiles(*features) -> StudentOutput:
        last = torch.tensor(features)[:, :, None, None]
        return output(torch.zeros(2, 4), maps=(torch.ones(2, 1, 2, 2),) * 3 + (last,))

    student, teacher = tiles((3.0, 0.0), (0.0, 1.0)), tiles((2.0, 0.0), (1.5, 1.75**0.5))
    assert terms(Similarity(DEFAULT), student, teacher, (0, 1)) == {
        "similarity": pytest.approx(0.2)
    }


def test_relational() -> None:
    # The student's three tiles are a triangle of sides 3, 4, 5 (mean 4: 3/4, 1, 5/4) with the
    # cosines 0, 3/5, 4/5; the teacher's is equilateral (1, 1, 1; cosines 1/2).
    # Distances: Huber 1/2 (1/4)^2 = 1/32 for two of three pairs, each twice, over nine places.
    # Angles: 1/2 (1/4 + 1/100 + 9/100) = 0.175, each twice, over 27 places.
    student = output(torch.zeros(3, 4), [[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    teacher = output(torch.zeros(3, 4), [[0.0, 0.0], [2.0, 0.0], [1.0, 3**0.5]])
    assert terms(Relational(DEFAULT), student, teacher, (0, 1, 2)) == {
        "distance": pytest.approx(4 / 32 / 9, rel=1e-5),
        "angle": pytest.approx(0.35 / 27, rel=1e-5),
    }


def test_relational_survives_equal_tiles() -> None:
    pooled = torch.ones(3, 2, requires_grad=True)
    student = StudentOutput(torch.zeros(3, 4), pooled, pooled, ())
    teacher = output(torch.zeros(3, 4), [[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    method = Relational(DEFAULT)
    method.total(method.parts(student, teacher, torch.tensor([0, 1, 2]))).backward()
    assert pooled.grad.isfinite().all()


@pytest.mark.parametrize("label", [0, 3])
def test_decoupled(label: int) -> None:
    # At T = 4 the student says 1/4 each; the teacher 1/2 for the label and 1/4, 1/8, 1/8.
    # TCKD: 1/2 ln (1/2 : 1/4) + 1/2 ln (1/2 : 3/4) = 1/2 ln 4/3.
    # NCKD, 1/2, 1/4, 1/4 against thirds: 1/2 ln 3/2 + 1/2 ln 3/4 = 1/2 ln 9/8. T^2 = 16.
    others = [grade for grade in range(4) if grade != label]
    teacher = torch.empty(1, 4)
    teacher[0, [label, *others]] = 4 * log(1 / 2, 1 / 4, 1 / 8, 1 / 8)
    assert terms(Decoupled(DEFAULT), output(), output(teacher), (label,)) == {
        "target": pytest.approx(8 * ln(4 / 3), rel=1e-5),
        "others": pytest.approx(8 * ln(9 / 8), rel=1e-5),
    }


def test_decoupled_bears_a_teacher_that_is_sure() -> None:
    found = terms(Decoupled(DEFAULT), output(), output([[1e4, 0, 0, 0]]))
    assert found["target"] == pytest.approx(16 * ln(4))  # all on the label: ln (1 : 1/4)
    assert found["others"] == pytest.approx(0, abs=1e-5)


def test_dist() -> None:
    # Over the grades: the first tiles are equal, correlation 1. In the second the deviations
    # -3/2, -1/2, 1/2, 3/2 meet 1/2, 3/2, -3/2, -1/2: -3 of 5, correlation -0.6. 1 - 0.4 / 2 = 0.8.
    # Over the two tiles grades 0 and 3 fall and rise together, 1 and 2 opposite: 1 - 0 = 1.
    student = torch.stack([log(0.4, 0.3, 0.2, 0.1), log(0.1, 0.2, 0.3, 0.4)])
    teacher = torch.stack([log(0.4, 0.3, 0.2, 0.1), log(0.3, 0.4, 0.1, 0.2)])
    assert terms(Dist(DEFAULT), output(student), output(teacher), (0, 1)) == {
        "inter": pytest.approx(0.8, abs=1e-5),
        "intra": pytest.approx(1.0, abs=1e-5),
    }


def test_hmkd_compares_pooled_features_through_its_projection() -> None:
    # (1, 2) becomes (2, 1, 0); with (2, 1, 2) of length 3 the cosine is 5 / (sqrt 5 3).
    projection = torch.nn.Linear(2, 3)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[0.0, 1], [1, 0], [0, 0]]))
        projection.bias.zero_()
    method = Hmkd(DistillationSettings(logits_kl=0, attention=0), projection)
    found = terms(method, output(pooled=[[1.0, 2.0]]), output(pooled=[[2.0, 1.0, 2.0]]))
    assert found == {"cosine": pytest.approx(1 - 5**0.5 / 3)}
