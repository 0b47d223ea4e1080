"""What QuPath reads and writes as GeoJSON, as far as this project uses it."""

from __future__ import annotations

POSITION = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
}
QUPATH_FEATURE = {
    "type": "object",
    "required": ["type", "id", "geometry", "properties"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "geometry": {
            "type": "object",
            "required": ["type", "coordinates"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "Polygon"},
                "coordinates": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "minItems": 4, "items": POSITION},
                },
            },
        },
        "properties": {
            "type": "object",
            "required": ["objectType", "name", "classification", "isLocked", "measurements"],
            "additionalProperties": False,
            "properties": {
                "objectType": {"enum": ["annotation", "detection"]},
                "name": {"type": "string"},
                "classification": {
                    "type": "object",
                    "required": ["name", "color"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string", "pattern": "^[^:\n]+$"},  # : would nest classes
                        "color": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                            "minItems": 3,
                            "maxItems": 3,
                        },
                    },
                },
                "isLocked": {"const": True},
                "measurements": {"type": "object", "additionalProperties": {"type": "number"}},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    },
}
COLLECTION = {
    "type": "object",
    "required": ["type", "features"],
    "not": {"anyOf": [{"required": [name]} for name in ("coordinates", "geometry", "properties")]},
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": QUPATH_FEATURE},
    },
}
