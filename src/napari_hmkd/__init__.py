"""HER2 grading from H&E slides with distilled networks: a headless core and a napari plugin."""
