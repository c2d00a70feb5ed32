"""Which cases train, validate and test: dealt, adopted or read back, and refused when they leak."""
