"""Beside the road: how often the verdicts err, measured with workers whose ratio is known."""
