"""``python -m bench``: the speed of jobwire beside the wire's limit and beside other queues (docs/PERFORMANCE.md)."""
