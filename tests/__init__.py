"""The tests: a package, so that their helpers have full names."""
