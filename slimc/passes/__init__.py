"""The passes, in default order."""
