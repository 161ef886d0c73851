"""One module per format: how a program becomes a file, and how that file is used on its device."""
