"""Channel removal: importance, budgets, cuts, repair."""
