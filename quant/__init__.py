"""Graph to smaller graph."""
