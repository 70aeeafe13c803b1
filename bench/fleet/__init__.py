"""The training engine compiled for the host: global evaluation, central training, and clients by the thousand."""
