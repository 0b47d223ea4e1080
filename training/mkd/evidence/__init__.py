"""Evidence: what MKD buys on drawn patients and on real spots of tissue."""
