"""Shells: a step calls functional, logs and returns."""

from lightning_modules.basis import BasisModule
from lightning_modules.supervised import SupervisedModule

__all__ = ["BasisModule", "SupervisedModule"]
