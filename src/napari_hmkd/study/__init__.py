"""Reader studies: how far pathologists' scores agree with each other and with the model."""
