"""Triton on this machine: its environment, its command line, and what its log says."""
