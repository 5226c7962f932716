"""How one round of a measurement goes: which processes there are, and what their times mean."""
