"""Files and data sets; no Lightning."""
