"""Patterns and rules."""
