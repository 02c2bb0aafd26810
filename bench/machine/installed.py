"""What the Python that runs this has: ``python -m bench.machine.installed NAME…`` prints it as one line of JSON.

It imports nothing but the standard library before it has looked whether the rest is there.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

LEAST_PYTHON = (3, 11)

WORKERS_NEED = ("bench.measure.serve",)
"""What a worker imports before its row."""


def version_of(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def lacks() -> str | None:
    """What keeps a worker from running here, or None."""
    if sys.version_info < LEAST_PYTHON:
        return f"is Python {platform.python_version()}, and the bench needs {'.'.join(map(str, LEAST_PYTHON))}"
    for name in WORKERS_NEED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return f"has no {error.name}, which a worker needs; install the harness's requirements there"
        except ImportError as error:
            return f"cannot import {error.name or name}, which a worker needs ({error})"
    return None


def main(names: list[str]) -> None:
    """Print what is there of these names."""
    found = {
        "python": platform.python_version(),
        "lacks": lacks(),
        "modules": [name for name in names if find_spec(name) is not None],
        "packages": {name: number for name in names if (number := version_of(name))},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
