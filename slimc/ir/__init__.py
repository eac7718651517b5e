"""The intermediate representation: frozen graphs and the one way from a graph to the next."""
