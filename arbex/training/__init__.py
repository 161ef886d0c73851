"""Training: settings, the loop, checkpoints that survive interruption."""
