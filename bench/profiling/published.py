"""Profiles, as they are published: without traces, which are large and of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.profiling.profiles import PROFILE_FILE, Profiles, read_profiles
from bench.profiling.report import BUSY, page
from bench.publish.kinds import Kind, Repository, check_commit, dated, refusal


@dataclass(frozen=True, slots=True)
class PublishedProfiles(Kind[Profiles]):
    """Results of ``bench profile``."""

    head_file: ClassVar[str] = PROFILE_FILE

    def read(self, folder: Path) -> Profiles:
        """The profiles in a folder."""
        return read_profiles(folder)

    def check(self, thing: Profiles, folder: Path, repository: Repository) -> None:
        """Refuse profiles that prove nothing."""
        refuse = refusal(folder)
        for one in thing.profiles:
            what = f"{one.implementation} {one.workload} {one.task}"
            if one.status != "ok":
                raise refuse(f"{what} is {one.status} ({one.reason}); publish profiles in which every row works")
            if "/" not in one.implementation:
                raise refuse(f"{one.implementation} is a file outside impls/, which no commit has")
            if one.waited > BUSY:
                raise refuse(f"{what}: other programs had its processor; profile again on a machine that is at rest")
        check_commit(thing.environment, repository.root, refuse, "profile")

    def started_at(self, thing: Profiles) -> str:
        """When they began."""
        return thing.started_at

    def target(self, thing: Profiles, repository: Repository) -> Path:
        """Beside those of other machines and days."""
        return dated(repository.results / "profiled" / thing.environment.machine, thing, self)

    def raw(self, thing: Profiles, folder: Path) -> dict[str, bytes]:
        """All but the traces."""
        return {PROFILE_FILE: (folder / PROFILE_FILE).read_bytes()}

    def places(self, repository: Repository) -> list[Path]:
        """Apart from results."""
        return [repository.results / "profiled"]

    def pages(self, things: Sequence[tuple[Path, Profiles]], repository: Repository) -> dict[Path, str]:
        """What the rows' time goes to."""
        return {repository.root / "docs" / "profiles.md": page([thing for _, thing in things])}
