"""``bench profile``: what the time of a call goes to."""
