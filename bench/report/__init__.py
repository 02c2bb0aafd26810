"""What people read of a result: tables in several formats, all made from the same rows."""
