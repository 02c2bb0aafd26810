"""The command line: ``python -m bench --help``."""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while there is nobody yet who says it in one line
    if sys.flags.optimize > 1:  # without docstrings there is no help, and Altair cannot be imported
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
        os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], kept)
    from bench.cli.main import main

    sys.exit(main())
