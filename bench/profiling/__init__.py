"""Beside the road: what a row's time goes to, by its framework's own profiler."""
