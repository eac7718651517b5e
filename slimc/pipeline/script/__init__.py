"""GraphSurgeon scripts, run and checked."""
