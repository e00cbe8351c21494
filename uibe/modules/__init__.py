"""State: the basis, the frozen backbone, the standardizer."""

from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis

__all__ = ["Backbone", "InterpretableBasis"]
