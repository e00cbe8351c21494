"""Peers of the learned basis: other ways to directions, fitted on the same cached features."""
