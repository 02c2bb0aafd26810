"""What this machine is, and what about it makes times uncertain."""
