"""Forebay."""
