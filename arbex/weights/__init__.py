"""Published weights: reading their files without running code, and matching them with the model."""
