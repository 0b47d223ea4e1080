"""What a finished network is worth: calibration, scores, reports."""
