"""What the fleet is compared with (bench/benchmarks/fleet_speed.py): each a program of its own, `python -m`.

They run in a virtual environment that has none of the bench's dependencies, so they import nothing of it but each
other. Each reads a case (case.py), proves that its clients end with the expected weights, takes the time of rounds, and
writes a JSON document.
"""
