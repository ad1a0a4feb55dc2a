"""A live conversation in the terminal."""
