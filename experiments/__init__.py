"""One file per research question; a recipe is a function that returns an Experiment."""
