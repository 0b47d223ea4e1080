"""Distillation seen from inside: where the networks look, and what the difference costs."""
