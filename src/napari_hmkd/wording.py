"""Sentences that every result carries."""

from __future__ import annotations

RESEARCH_ONLY = "research use only"
NO_SCORE = "by area of tiles, not by cells: not an ASCO/CAP score"
