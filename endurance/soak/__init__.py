"""Soak: a mixed fleet under a steady load, and whether its memory stays flat."""
