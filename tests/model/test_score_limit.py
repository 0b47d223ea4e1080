"""Scores far beyond any in use do not grow without end."""

from __future__ import annotations

import pytest
import torch

from napari_hmkd.model.planes import SCORE_LIMIT, AttentionPlanes


@pytest.mark.parametrize("size", [1e6, 1e9])
def test_attention_to_outsize_tokens_is_bounded(size: float) -> None:
    torch.manual_seed(0)
    planes = AttentionPlanes().eval()
    tokens = size * torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        attention = planes(tokens, tokens)
    # A sums 3 x 3 x 4 products of a weight and a score of which softmax keeps at most all.
    assert attention.isfinite().all()
    assert attention.abs().max() <= SCORE_LIMIT * planes.merge.weight.abs().sum()
