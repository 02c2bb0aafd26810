"""Beside the road: costs fitted to a scaling run, and what they let one expect of other shapes."""
