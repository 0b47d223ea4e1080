"""Gene tables: which row of one is whose, and how a network takes it."""
