"""Non-maximum suppression after a detection head."""
