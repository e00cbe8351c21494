"""State: the basis, the frozen backbone, the standardizer."""
