"""Tests of `uibe.data`."""
