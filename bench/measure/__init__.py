"""From a request to records: plan, stopping, workers who take turns, and the proof that they are right."""
