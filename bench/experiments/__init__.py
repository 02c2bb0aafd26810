"""Experiments on the method itself, published beside the results."""
