"""The rules of the wire, and the linter that applies them to traffic."""
