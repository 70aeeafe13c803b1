"""FTTE's claims put to the test: an experiment file, its runs on the simulated fleet, and a page of figures."""
