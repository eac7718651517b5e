"""Facts about graphs: shapes, costs, what must leave together."""
