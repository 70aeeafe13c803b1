"""The boards of a lab: what they are, what is flashed to them, who holds them, and how they are driven."""
