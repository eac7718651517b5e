"""`python -m slimc` is the same as `slimc`."""

from slimc.cli import main

main()
