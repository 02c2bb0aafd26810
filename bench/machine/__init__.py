"""The machine and its software: what it is, what disturbs it, which Pythons it has."""
