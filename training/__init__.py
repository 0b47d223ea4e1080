"""Training of teacher and student; installed as `napari_hmkd.training`."""
