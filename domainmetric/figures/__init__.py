"""Every picture, as a function of numbers that returns a matplotlib Figure."""
