"""The three errors that users meet: each message names the culprit, what was expected and what to do.

Pure functions in `uibe.functional` raise `ValueError` instead; the command line prints any of these
as one line and exits with a non-zero code.
"""

__all__ = ["ConfigError", "DataError", "MismatchError"]


class ConfigError(ValueError):
    """An option cannot be honoured: an unknown backbone, layer, weights file, category or value."""


class DataError(ValueError):
    """A file of the user's data is missing, damaged or contradicts its index."""


class MismatchError(ValueError):
    """Two things that must belong together do not: checkpoint and weights, cache and data."""
