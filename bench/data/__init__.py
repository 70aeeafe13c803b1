"""Data sets, their division among clients, and the shards that are flashed into a board's data partition."""
