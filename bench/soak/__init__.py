"""Federated rounds under faults on purpose, beside the same rounds without: nothing lost, nothing counted twice."""
