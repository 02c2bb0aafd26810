"""From a request to records: the plan and when it stops, workers, what they start with and how they take turns, the
proof."""
