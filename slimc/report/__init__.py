"""The record of a compile as text and JSON."""
