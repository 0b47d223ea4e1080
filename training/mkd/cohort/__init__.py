"""Procedural patients with slides and genes."""
