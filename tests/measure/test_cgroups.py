"""Every limit above a process is seen: both versions, nested groups, hierarchies mounted from their middle."""

import pytest

from fffbench.measure import cgroups, fingerprint, memory

GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """A root folder with the given memberships, mounts and files of control groups."""

    def make(memberships, mounts, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text("\n".join(memberships) + "\n")
        lines = [
            f"31 23 0:2{i} {top} {place} rw - {kind} x rw,{what}" for i, (top, place, kind, what) in enumerate(mounts)
        ]
        (tmp_path / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return make


V2 = [("/", "/sys/fs/cgroup", "cgroup2", "")]


def test_without_groups_there_is_no_limit(tmp_path):
    assert cgroups.cpu_quota(tmp_path) is None
    assert cgroups.memory_limit(tmp_path) is None
    assert cgroups.memory_left(tmp_path) is None


def test_version_2_counts_the_tightest_of_all_ancestors(machine):
    root = machine(
        ["0::/a/b"],
        V2,
        {
            "sys/fs/cgroup/a/cpu.max": "150000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            "sys/fs/cgroup/a/memory.max": str(2 * GIB),
            "sys/fs/cgroup/a/memory.current": str(GIB),
            "sys/fs/cgroup/a/memory.stat": f"anon 1\ninactive_file {GIB // 2}",
            "sys/fs/cgroup/a/b/memory.max": "max",
        },
    )
    assert cgroups.cpu_quota(root) == 1.5
    assert cgroups.memory_limit(root) == 2 * GIB
    assert cgroups.memory_left(root) == 3 * GIB // 2


def test_version_1_is_seen_by_its_own_names(machine):
    root = machine(
        ["4:memory:/job", "3:cpu,cpuacct:/job", "0::/"],
        [
            ("/", "/sys/fs/cgroup/memory", "cgroup", "memory"),
            ("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
            ("/", "/sys/fs/cgroup/unified", "cgroup2", ""),
        ],
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": str(GIB // 4),
            "sys/fs/cgroup/memory/job/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 8}",
        },
    )
    assert cgroups.cpu_quota(root) == 1.0
    assert cgroups.memory_limit(root) == GIB
    assert cgroups.memory_left(root) == GIB - GIB // 8


def test_a_container_without_a_namespace_sees_its_mount_as_its_own_group(machine):
    root = machine(
        ["0::/docker/abc/inner"],
        [("/docker/abc", "/sys/fs/cgroup", "cgroup2", "")],
        {"sys/fs/cgroup/cpu.max": "300000 100000", "sys/fs/cgroup/inner/cpu.max": "200000 100000"},
    )
    assert cgroups.cpu_quota(root) == 2.0


def test_a_group_outside_of_the_mount_is_limited_by_the_mount(machine):
    root = machine(["0::/../../other"], V2, {"sys/fs/cgroup/cpu.max": "100000 100000"})
    assert cgroups.cpu_quota(root) == 1.0


@pytest.mark.parametrize("text", ["", "max", "0 100000", "-1 100000", "100000 0", "100000", "a b", "9" * 5000 + " 1"])
def test_what_is_no_quota_is_none(machine, text):
    assert cgroups.cpu_quota(machine(["0::/"], V2, {"sys/fs/cgroup/cpu.max": text})) is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 16), (64.0, 16), (3.5, 3), (1.0, 1), (0.2, 1)])
def test_a_part_of_a_cpu_carries_no_thread(quota, cores):
    assert cgroups.whole_cpus(quota, 16) == cores


def test_the_fingerprint_and_the_memory_check_ask_for_them(monkeypatch):
    monkeypatch.setattr(cgroups, "cpu_quota", lambda: 1.0)
    monkeypatch.setattr(cgroups, "memory_left", lambda: 12345)
    monkeypatch.setattr(cgroups, "memory_limit", lambda: 3 * GIB)
    assert fingerprint.usable_cores() == fingerprint.physical_cores() == 1
    assert memory.available() == 12345
    assert fingerprint.stable()["memory"] == "3 GiB"


def test_two_threads_of_a_core_are_one_physical_core(monkeypatch):
    monkeypatch.setattr(fingerprint, "_affinity", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(cgroups, "cpu_quota", lambda: None)
    siblings = {"0": "0,2", "2": "0,2", "1": "1,3", "3": "1,3"}
    topology = fingerprint._TOPOLOGY.split("{}")
    core = lambda path: siblings[str(path).removeprefix(topology[0]).split("/")[0]]  # noqa: E731
    monkeypatch.setattr(fingerprint, "_read", core)
    assert (fingerprint.usable_cores(), fingerprint.physical_cores()) == (4, 2)
    monkeypatch.setattr(fingerprint, "_read", lambda _: "")
    assert fingerprint.physical_cores() == 4, "a system that does not say"
