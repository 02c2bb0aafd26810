"""What is written down: the schema of a result, and the only code that knows its files."""
