"""Rows of Keras 3. Keras decides which backend it computes with when it is imported, once for the whole process."""

from __future__ import annotations

import os

from impls.contract import InvalidInput

if not os.environ.get("KERAS_BACKEND"):
    raise InvalidInput("KERAS_BACKEND is not set: set it to jax or torch, as the row needs, before Python starts")
