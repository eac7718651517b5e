"""Operators that a target lacks, expressed by those that it has."""
