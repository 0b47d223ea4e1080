"""Self-contained pages: one file with its pictures in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from PIL import Image


def render(template: str, **values: Any) -> str:
    """A page from a template of this folder; a name that it lacks is an error, and text is escaped."""
    loader = jinja2.PackageLoader("napari_hmkd", "export")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(**values)


def flat(values: Mapping[Any, object], before: str = "") -> dict[str, object]:
    """Nested values by their names, joined by dots."""
    found: dict[str, object] = {}
    for name, one in values.items():
        found |= (
            flat(one, f"{before}{name}.") if isinstance(one, dict) else {f"{before}{name}": one}
        )
    return found


def jpeg_url(pixels: np.ndarray) -> str:
    """A picture, uint8 (height, width, 3), for the `src` of an image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return data_url("jpeg", file.getvalue())


def data_url(kind: str, content: bytes) -> str:
    """A file of a kind such as "png" for the `src` of an image."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
