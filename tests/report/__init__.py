"""Tests of uibe.report."""
