"""Whether a network is answering, or somebody records how it does."""

from __future__ import annotations

import torch


def is_recorded() -> bool:
    """Whether a trace or a compiler follows, which unrolls loops and keeps what holds on this device."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()
