"""Mutants of everything that is read: a right result, or one error of our own that names the culprit."""
