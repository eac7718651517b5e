"""What a file is worth on its target: lint by rules, verify by the runtime, fixes."""
