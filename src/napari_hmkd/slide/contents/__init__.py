"""What is on a slide: tissue, stain, focus."""
