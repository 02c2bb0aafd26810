"""Optional, beside the road of a run: costs fitted to a scaling run, and what they let one expect of other shapes."""
