"""Files to graphs and back."""
