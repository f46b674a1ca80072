"""The conformance suite: real peers, a real Redis, every byte on the wire."""
