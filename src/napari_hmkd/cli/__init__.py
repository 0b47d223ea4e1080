"""Command lines that need no screen."""
