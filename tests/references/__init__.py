"""Slow, obvious oracles in NumPy: the reference for every number."""
