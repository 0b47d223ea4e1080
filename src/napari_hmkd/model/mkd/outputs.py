"""What the networks of MKD return."""

from __future__ import annotations

from dataclasses import dataclass

import torch

EMBEDDING = 256
P, M, G = "P", "M", "G"
"""The networks: of tissue, of both, of genes."""


@dataclass(frozen=True, slots=True, eq=False)
class MkdOutput:
    """What a network says about b cases.

    Attributes
    ----------
    logits : torch.Tensor
        (b, classes), before softmax and temperature.
    embedding : torch.Tensor
        (b, 256): the component that the losses compare.
    attention : torch.Tensor
        Not negative, at least float32. Of the networks that see tissue (sum n,) over the patches,
        which sums to 1 within each bag; of the genomic one (b, tokens), which sums to 1 over the
        tokens.
    """

    logits: torch.Tensor
    embedding: torch.Tensor
    attention: torch.Tensor
