"""Set-up of a machine for the bench, run by `make` before everything else; needs nothing but Python itself."""
