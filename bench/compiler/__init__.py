"""From a network to a training program: choose, quantise, differentiate, order, place, emit; one file each."""
