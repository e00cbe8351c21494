"""Tests of uibe.library."""
