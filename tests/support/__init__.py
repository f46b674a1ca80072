"""Helpers of the tests, imported by their full names."""
