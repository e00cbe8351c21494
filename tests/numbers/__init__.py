"""What becomes of numbers that no network should give, from the command line down to a step."""
