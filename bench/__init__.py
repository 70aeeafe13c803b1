"""A hardware-in-the-loop test bench for the Federated Tiny Training Engine."""
