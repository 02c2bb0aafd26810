"""Results in words and tables: for a terminal, Markdown, CSV, JSON, and while a run lasts."""
