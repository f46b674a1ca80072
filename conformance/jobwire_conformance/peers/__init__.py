"""Where peers and Redis servers come from."""
