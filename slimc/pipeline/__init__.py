"""The whole compile: passes in order, each verified and timed, then the target's lowering."""
