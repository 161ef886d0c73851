"""Published weights: reading their files without running code in them, and finding their place in the encoder."""
