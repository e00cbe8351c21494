"""Files and machines that mean no good: what is attacked or breaks, and what must not come of it."""
