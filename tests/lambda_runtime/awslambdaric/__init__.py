"""Stands in for the managed runtime's own package; what our loop uses of it."""
