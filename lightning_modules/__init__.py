"""Shells: a step calls functional, logs and returns."""

from lightning_modules.basis import BasisModule

__all__ = ["BasisModule"]
