"""One script a question: why the method is as it is. Nothing in ``bench`` imports them."""
