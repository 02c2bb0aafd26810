"""Training until a target error: the task, its trainings in processes of their own, and what is kept of them."""
