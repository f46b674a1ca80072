"""The version of this release, apart from the package so that the modules below it may know it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
"""The version of the package."""
