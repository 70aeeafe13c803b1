"""The nightly matrix: what is run, how nights are compared, what is found."""
