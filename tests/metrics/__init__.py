"""Tests of uibe.metrics."""
