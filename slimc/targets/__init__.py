"""Targets as tables."""
