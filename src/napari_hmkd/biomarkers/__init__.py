"""Slide-level biomarker status from a bag of tiles."""
