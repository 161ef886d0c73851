"""How good answers are: figures, intervals, groups, plots, and the measuring of a run."""
