"""Tests of uibe.functional."""
