"""Whole clusters in memory: real machines, a virtual clock, a network with every fault."""
