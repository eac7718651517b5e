"""The whole compile: passes in order, each checked and timed, then the target's lowering."""
