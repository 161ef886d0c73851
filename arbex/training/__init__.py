"""Training: configuration, the loop, distillation, and a state that survives interruption."""
