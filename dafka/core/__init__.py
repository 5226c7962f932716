"""Decisions: one pure state machine per role. Nothing here reads a clock, a socket or a disk."""
