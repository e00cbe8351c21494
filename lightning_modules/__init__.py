"""Shells: a step calls functional, logs and returns."""
