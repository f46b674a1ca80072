"""``jobwire tap``: decode and lint live traffic."""
