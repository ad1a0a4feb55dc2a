"""Bundle to conversation, without torch."""
