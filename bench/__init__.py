"""``python -m bench``: how fast jobwire is beside what the wire allows and beside others (docs/PERFORMANCE.md)."""
