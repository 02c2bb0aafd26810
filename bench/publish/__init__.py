"""What may stand in ``results/``, and all that is made of what stands there."""
