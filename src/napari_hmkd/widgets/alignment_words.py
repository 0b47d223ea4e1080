"""What the panel Align IHC says of an alignment."""

from __future__ import annotations

import numpy as np

from napari_hmkd.alignment import Alignment, Method


def alignment_words(alignment: Alignment) -> str:
    """How the IHC lies, how it was found, and how far that can be relied on."""
    linear = alignment.affine[:2, :2]
    turned = np.rad2deg(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    scale = np.sqrt(np.linalg.det(linear))
    down, right = alignment.affine[:2, 2]
    words = [
        f"Aligned ({alignment.method}): on the IHC the H&E's corner lies {down:+.1f} um down and "
        f"{right:+.1f} um to the right, the tissue turned by {turned:+.2f} degrees (counterclockwise), "
        f"scaled by {scale:.4f}."
    ]
    if alignment.residual_um is not None:
        words.append(f"Residual (root mean square): {alignment.residual_um:.2f} um.")
    elif alignment.method is Method.LANDMARKS:
        words.append(
            "No residual: so few landmarks fit any map; set more to see how well they agree."
        )
    if alignment.score is not None:
        words.append(
            f"The texture fits {alignment.score:.1f} times better than turned or mirrored."
        )
    return " ".join(words)


def residual_words(residuals_um: np.ndarray) -> str:
    """How far each pair of landmarks is off, the worst named."""
    each = ", ".join(f"{number}: {off:.2f}" for number, off in enumerate(residuals_um, start=1))
    return f"Pairs are off by, in um: {each}. The worst is pair {int(np.argmax(residuals_um)) + 1}."
