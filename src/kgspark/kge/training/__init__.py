"""The training itself: plan, epochs, state, checkpoints, refit."""
