"""How updates become the next model: pure functions of the model and the updates."""
