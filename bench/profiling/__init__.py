"""Optional, beside the road of a run: what a row's time goes to, by its framework's own profiler."""
