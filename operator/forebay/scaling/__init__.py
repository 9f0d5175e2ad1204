"""How many instances there are to be: decided from what was measured, and from the time. Pure."""
