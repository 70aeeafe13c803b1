"""Virtual boards: emulated at the wire (debug port, serial line), so that nothing above the board layer can tell."""
