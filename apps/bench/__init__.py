"""How fast a model is here: stage by stage, a whole spoken reply, and against other programs on the same weights."""
