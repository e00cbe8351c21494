"""Unsupervised Interpretable Basis Extraction: the core, which knows torch and nothing of Lightning."""
