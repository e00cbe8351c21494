"""Griffe extension: the section that this project calls `Example:` is code, as Griffe's `Examples:` is."""

from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the section; otherwise brackets in the code are taken for links."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - Griffe's signature
        """Rename it in one docstring."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
