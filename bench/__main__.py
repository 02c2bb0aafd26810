"""The command line: ``python -m bench --help``."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if sys.flags.optimize > 1:  # without docstrings there is no help, and Altair cannot be imported
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
        os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], kept)
    from bench.cli.main import main

    sys.exit(main())
