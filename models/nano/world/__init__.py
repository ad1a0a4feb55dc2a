"""nano's world: what can be said, shown and asked in it; shared by nano's training and its evaluation (no torch)."""
