"""The experiments behind the method, one script a question; they share `kinds` and `experiment`.

Nothing in ``bench`` imports them.
"""
