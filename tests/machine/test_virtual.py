"""Virtual machines and containers: what they take, and how they are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.machines import CLOCK, QUIET_METAL, STOLEN, VIRTUAL, Files, names, write

from bench.machine.cpus import Watched, steal_share
from bench.machine.facts import read_facts
from bench.machine.warnings import NOT_FROM_INSIDE, warnings_of


def test_a_virtual_machine_that_is_stolen_from(tmp_path: Path, psutil_says: dict[str, object]) -> None:
    psutil_says["cpu_times"] = STOLEN
    facts = read_facts(write(tmp_path, QUIET_METAL, VIRTUAL))
    assert (facts.virtual, facts.hypervisor) == (True, "KVM")
    assert (facts.governor, facts.boost, facts.smt) == (None, None, None), "they are the host's"
    assert facts.steal is None and facts.steal_since_boot == 0.1
    assert {"virtual", "steal"} <= names(facts)
    assert all(NOT_FROM_INSIDE in warning.fix for warning in warnings_of(facts) if warning.name in ("virtual", "steal"))


@pytest.mark.parametrize(("features", "reported"), [("011001" + "0" * 58, True), ("0" * 64, False)])
def test_a_balloon_may_report_free_pages(tmp_path: Path, features: str, reported: bool) -> None:
    balloon = {"sys/bus/virtio/drivers/virtio_balloon/virtio3/features": features + "\n"}
    assert read_facts(write(tmp_path, VIRTUAL, balloon)).free_pages_reported is reported
    assert read_facts(write(tmp_path / "none", VIRTUAL)).free_pages_reported is None


def test_steal_is_read_before_and_after(tmp_path: Path, psutil_says: dict[str, object]) -> None:
    psutil_says["cpu_times"] = STOLEN

    def during() -> Watched:
        psutil_says["cpu_times"] = (8090, 0, 1000, 50100, 0, 0, 0, 1010, 0, 0)
        return Watched(0.1, 0.02)

    facts = read_facts(write(tmp_path, VIRTUAL), during=during)
    assert facts.steal == pytest.approx(0.1)
    assert (facts.lost, facts.longest_gap_s) == (0.1, 0.02)
    assert [warning.severity for warning in warnings_of(facts) if warning.name == "steal"] == ["high"]


def test_steal_is_a_share_of_what_was_wanted() -> None:
    assert steal_share([50, 0, 40, 9000, 900, 5, 4, 1, 30, 0]) == 0.01
    assert steal_share([0, 0, 0, 100, 0, 0, 0, 0]) is None, "nothing was wanted"


@pytest.mark.parametrize(
    ("files", "which"),
    [
        ({"sys/hypervisor/type": "xen\n"}, "Xen"),
        ({f"{CLOCK}/available_clocksource": "tsc kvm-clock acpi_pm"}, "KVM"),
        ({f"{CLOCK}/available_clocksource": "hyperv_clocksource_tsc_page acpi_pm"}, "Hyper-V"),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "c7i.large"}, "EC2"),
        ({"sys/class/dmi/id/sys_vendor": "Roe's own"}, None),
    ],
)
def test_hypervisors(tmp_path: Path, files: Files, which: str | None) -> None:
    flags = {"proc/cpuinfo": "flags : fpu hypervisor"}
    facts = read_facts(write(tmp_path, flags, files))
    assert (facts.virtual, facts.hypervisor) == (True, which)
    assert "virtual" in names(facts)


def test_metal_that_is_rented_is_metal(tmp_path: Path) -> None:
    rented = {"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "c7g.metal"}
    assert read_facts(write(tmp_path, rented, {"proc/cpuinfo": "flags : fpu"})).virtual is False
    assert read_facts(write(tmp_path, rented, {"proc/cpuinfo": "Features : fp asimd"})).virtual is None
    other = write(tmp_path, {"sys/class/dmi/id/product_name": "c7g.large", "proc/cpuinfo": "Features : fp asimd"})
    assert read_facts(other).virtual is True


@pytest.mark.parametrize(
    ("files", "which"),
    [
        ({"proc/self/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope"}, "kubernetes"),
        ({"proc/1/environ": "PATH=/docker\0container=lxc\0"}, "lxc"),
        ({"proc/1/environ": "PATH=/docker\0"}, "none"),
        ({"run/systemd/container": "systemd-nspawn"}, "nspawn"),
        ({"run/.containerenv": "", "proc/self/mountinfo": "6 5 0:6 / / rw - overlay overlay rw\n"}, "podman"),
        ({"proc/self/mountinfo": "6 5 0:6 / / rw - overlay overlay rw\n"}, "unknown kind"),
        ({"proc/self/mountinfo": "6 5 0:6 / /var/lib/docker/overlay2/1 rw - overlay overlay rw\n"}, "none"),
        ({".dockerenv": "", "proc/self/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n"}, "none"),
        ({".dockerenv": ""}, "docker"),
    ],
)
def test_containers(tmp_path: Path, files: Files, which: str) -> None:
    (tmp_path / "proc").mkdir()
    assert read_facts(write(tmp_path, files)).container == which
