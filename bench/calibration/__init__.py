"""Optional, beside the road of a run: how often the verdicts err, measured with workers whose ratio is known."""
