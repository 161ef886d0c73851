"""One room per format: how a program becomes a file of it, and how that file is used on its device."""
