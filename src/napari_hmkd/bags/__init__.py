"""Bags: what a frozen encoder says about the tissue tiles of a slide."""
