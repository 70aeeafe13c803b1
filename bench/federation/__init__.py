"""Federated rounds: knows neither boards nor networks; racks and fleets give it clients of one small protocol."""
