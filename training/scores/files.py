"""What an evaluation leaves in its folder."""

from __future__ import annotations

EVALUATION_FILE = "evaluation.json"
PAGE_FILE = "evaluation.html"
PREDICTIONS_FILE = "predictions.csv"
