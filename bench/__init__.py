"""The harness, room by room: ``workloads``, ``measure``, ``records``, ``analysis``, ``report``, ``page``, ``publish``.

``machine`` says where it runs, ``cli`` how it is asked. Beside that road stand ``forecast``, ``profiling`` and
``calibration``. Imports go one way: ``pyproject.toml`` has the order, and a test holds it.
"""
