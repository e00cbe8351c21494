"""Tests of uibe.modules."""
