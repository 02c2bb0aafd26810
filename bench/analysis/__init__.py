"""From records to what may be said: statistics, ratios, verdicts, costs and bounds. Pure."""
