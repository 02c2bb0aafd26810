"""Profiles that were never taken."""

from __future__ import annotations

import msgspec
from support.recorded import RUN

from bench.profiling.profiles import SCHEMA_VERSION, Operation, Profile, Profiles, Turn
from bench.records.schema import CodeFacts, Environment


def profile(*operations: tuple[str, float], call_s: float = 10.0) -> Profile:
    return Profile(
        implementation="torch/module",
        framework="torch",
        tier="idiomatic",
        workload="seed",
        task="forward",
        device="cpu",
        threads=1,
        status="ok",
        profiler="a profiler",
        code=CodeFacts(code="", versions={}),
        turns=(Turn(call_s + 1, 1.0),),
        profiled=(Turn(2 * call_s, 0.0),),
        operations=tuple(Operation(name=kind, kind=kind, count=1, seconds=seconds) for kind, seconds in operations),
    )


def profiles(*own: Profile, environment: Environment = RUN.environment) -> Profiles:
    return Profiles(
        schema_version=SCHEMA_VERSION,
        started_at="2026-01-31T12:00:00+00:00",
        command="python -m bench profile",
        environment=environment,
        shapes={"seed": "E 10, H 20"},
        profiles=list(own),
    )


QUIET = msgspec.structs.replace(profile(("product", 4.0), ("elementwise", 1.0)), turns=(Turn(10.0, 0.0),))
