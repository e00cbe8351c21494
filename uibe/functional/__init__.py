"""Stateless mathematics: imports torch and nothing else."""
