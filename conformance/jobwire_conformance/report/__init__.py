"""Verdicts, the report, and its renderings."""
