"""From a trained run to a bundle: tracing, lowering to each format, packaging."""
