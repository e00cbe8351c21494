"""Tests of uibe.peers."""
