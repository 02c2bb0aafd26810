"""From a request to records: the plan, its blocks, workers that take turns, and the proof that each is right."""
