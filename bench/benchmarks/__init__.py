"""What the README's and reports' figures come from: `python -m bench.benchmarks.NAME`, or `make bench` for all."""
