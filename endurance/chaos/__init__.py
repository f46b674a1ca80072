"""Chaos: a mixed fleet under kill −9, SIGSTOP, cut connections and restarts of Redis."""
