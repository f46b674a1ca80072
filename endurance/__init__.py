"""Chaos and soak: long runs of mixed fleets. Part of the checkout, not of the wheel."""
