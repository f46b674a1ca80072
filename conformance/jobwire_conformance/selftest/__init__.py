"""Deliberately broken peers: a suite that does not catch them is of no use."""
