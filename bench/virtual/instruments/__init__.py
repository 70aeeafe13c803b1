"""Emulated current meters: the instruments' own protocols on pseudo-terminals, fed with a current of known truth."""
