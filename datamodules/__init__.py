"""Wiring of data sets, feature caches and loaders."""
