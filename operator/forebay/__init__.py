"""Forebay: serve machine-learning models with a bounded queue in front of every instance."""
