"""What the maps of METHOD.md section 3 must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hmkd.model import agreement, discrepancy, received_attention, unit_squares


@st.composite
def matrices(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches of attention of one level, of any scale that a network may give."""
    grid, batch = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scales = draw(st.tuples(*[st.floats(-30, 30)] * 2))
    shape = (batch, grid**2, grid**2)
    return tuple(  # type: ignore[return-value]
        torch.from_numpy(rng.standard_normal(shape) * 10.0**scale).float() for scale in scales
    )


@settings(max_examples=50)
@given(matrices())
def test_u_is_a_unit_vector_for_each_tile(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    u = unit_squares(pair[0])
    assert (u >= 0).all()
    torch.testing.assert_close(u.flatten(1).norm(dim=1), torch.ones(len(u)))


@settings(max_examples=50)
@given(matrices())
def test_discrepancy_adds_up_to_the_tiles_loss(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    student, teacher = pair
    per_tile = discrepancy(student, teacher).sum(dim=(1, 2))
    u_s, u_t = (
        (a.double() / a.double().abs().amax(dim=(1, 2), keepdim=True)).square().flatten(1)
        for a in pair
    )
    difference = u_s / u_s.norm(dim=1, keepdim=True) - u_t / u_t.norm(dim=1, keepdim=True)
    wanted = difference.square().sum(dim=1).float()
    torch.testing.assert_close(per_tile, wanted, rtol=1e-4, atol=1e-6)


@settings(max_examples=50)
@given(matrices())
def test_agreement_says_the_same_as_the_loss(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    cosine = agreement(*pair)
    assert ((cosine >= 0) & (cosine <= 1)).all()
    torch.testing.assert_close(
        discrepancy(*pair).sum(dim=(1, 2)), 2 - 2 * cosine, rtol=1e-4, atol=2e-6
    )


@settings(max_examples=50)
@given(matrices(), st.floats(1e-3, 1e3))
def test_sign_and_scale_do_not_matter(
    pair: tuple[torch.Tensor, torch.Tensor], scale: float
) -> None:
    a = pair[0]
    torch.testing.assert_close(unit_squares(-scale * a), unit_squares(a), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(agreement(a, -scale * a), torch.ones(len(a)))


def test_maps_lie_on_the_token_grid() -> None:
    a = torch.zeros(2, 9, 9)
    a[0, 4, 5] = -3.0  # query (1, 1) looks at key (1, 2)
    a[1, :, 0] = 1.0
    received = received_attention(a)
    assert received.shape == (2, 3, 3)
    assert received[0, 1, 2] == 1
    assert received[0].sum() == 1
    assert received[1, 0, 0] == pytest.approx(3**0.5)  # nine queries of 1/3 each
    by_query = discrepancy(a[:1], torch.ones(1, 9, 9))
    assert by_query[0].argmax() == 4


def test_a_level_of_zeros_gives_zeros_not_nan() -> None:
    a = torch.zeros(1, 4, 4, requires_grad=True)
    u = unit_squares(a)
    u.sum().backward()
    assert not u.any()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_matrices_are_safe(dtype: torch.dtype) -> None:
    a = (torch.randn(1, 16, 16) * 1e4).to(dtype)  # the squares leave float16's range
    with torch.autocast("cpu", torch.bfloat16):
        u, received = unit_squares(a), received_attention(a)
    assert u.dtype == received.dtype == torch.float32
    torch.testing.assert_close(u, unit_squares(a.double().float()))


def test_the_gradient_is_that_of_the_formula() -> None:
    a = torch.randn(2, 4, 4, requires_grad=True)
    target = torch.rand(2, 4, 4)
    (unit_squares(a) * target).sum().backward()
    plain = a.detach().clone().requires_grad_()
    squares = plain.square().flatten(1)
    ((squares / squares.norm(dim=1, keepdim=True)) * target.flatten(1)).sum().backward()
    torch.testing.assert_close(a.grad, plain.grad)


@pytest.mark.parametrize("compare", [agreement, discrepancy])
def test_levels_of_two_sizes_are_refused(compare: object) -> None:
    with pytest.raises(ValueError, match=r"16.*4"):
        compare(torch.ones(1, 16, 16), torch.ones(1, 4, 4))  # type: ignore[operator]
