"""One module per way to read a file, behind one protocol; `opening` chooses."""
