"""torchmetrics metrics over the counts and moments of `uibe.functional`."""
