"""From a traced program and a calibration to an INT8 program: recipes, placement, conversion."""
