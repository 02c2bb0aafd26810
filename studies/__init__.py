"""The experiments behind the method, one script a question. Nothing in ``bench`` imports them."""
