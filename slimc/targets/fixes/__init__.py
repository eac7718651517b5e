"""Mends of what rules find, where there is one right way to."""
