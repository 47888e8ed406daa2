"""How does a real Slurm cluster of two nodes come to run on this machine alone, for a test?

From Debian's packages (``apt-get install --no-install-recommends slurm-wlm munge``): one munged, one slurmctld and two
slurmds as plain processes of whoever runs the test, on loopback and ports of their own, in one temporary folder; no
systemd, no control groups, no accounting. Everything ends with the ``with`` block.

Run as a script it keeps the cluster up and says how to use it:  python tests/slurm_cluster.py
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "squeue", "srun")
SBIN = ("/usr/sbin", "/usr/local/sbin")
NODES = ("node1", "node2")
UP_SECONDS = 60
CONF = """\
ClusterName=fffbench-test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdTimeout=10
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
MinJobAge=300
SlurmctldPort={ctld}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs={cpus} RealMemory=1000 Features=first
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs={cpus} RealMemory=1000 Features=second
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 OverSubscribe=EXCLUSIVE
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10 PreemptMode=OFF OverSubscribe=EXCLUSIVE
"""


def missing():
    """Why no cluster can be had here, or None."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    if not absent:
        return None
    return f"no {', '.join(absent)} here; on Debian: apt-get install --no-install-recommends slurm-wlm munge"


def _program(name):
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN)))


class Cluster:
    """A running cluster; ``environment`` is what its commands need."""

    def __init__(self, root):
        self.root = root
        self.environment = {**os.environ, "SLURM_CONF": str(root / "slurm.conf")}
        self._daemons = {}

    def start(self):
        """Start everything and wait until both nodes are idle."""
        self.root.chmod(0o755)  # munge's socket is everybody's
        munge = self.root / "munge"
        munge.mkdir(mode=0o755)
        key = munge / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (self.root / "state").mkdir()
        ports = _free_ports(3)
        conf = self.root / "slurm.conf"
        conf.write_text(
            CONF.format(
                host=socket.gethostname().partition(".")[0],
                root=self.root,
                user=getpass.getuser(),
                ctld=ports[0],
                port1=ports[1],
                port2=ports[2],
                cpus=os.cpu_count(),
            )
        )
        # of 22.05 to 24.05 the plugin that touches nothing where, as here, no other plugin asks for control groups
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        files = [f"--{name}={munge / name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
        self._start("munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}", *files)
        _wait((munge / "socket").exists, "munged has no socket", self._said)
        self._start("slurmctld", "-D", "-c", "-f", str(conf))
        for node in NODES:
            self.start_node(node)
        _wait(lambda: self.node_states() == dict.fromkeys(NODES, "IDLE"), "the nodes are not idle", self._said)

    def start_node(self, node):
        """Start a node's slurmd."""
        (self.root / f"spool-{node}").mkdir(exist_ok=True)
        self._start("slurmd", "-D", "-N", node, "-f", str(self.root / "slurm.conf"), key=node)

    def kill_node(self, node):
        """End a node as a power cut does: its slurmd and everything that runs on it."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()
        for process in _steps(self.root, node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 9)

    def node_states(self):
        """State of each node, as ``scontrol`` has it."""
        said = self.run("sinfo", "--noheader", "--Node", "--format=%N|%T", check=False).stdout
        return dict(line.rstrip("*~#$@").upper().replace("NODE", "node").split("|") for line in said.split())

    def run(self, *command, check=True):
        """Run one of Slurm's commands, or ours, on the cluster."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check)

    def stop(self):
        """End every process that was started, jobs included."""
        with contextlib.suppress(OSError):
            self.run("scancel", f"--user={getpass.getuser()}", check=False)
        for node in NODES:
            if node in self._daemons:
                self.kill_node(node)
        for daemon in reversed(list(self._daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in _with_environment({f"SLURM_CONF={self.root}/slurm.conf"}):  # steps that wait for the controller
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 9)

    def _start(self, name, *arguments, key=None):
        with (self.root / f"{key or name}.out").open("ab") as log:
            self._daemons[key or name] = subprocess.Popen(
                [_program(name), *arguments], env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _said(self):
        logs = sorted([*self.root.glob("*.out"), *self.root.glob("*.log"), *self.root.glob("munge/log-file")])
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-800:]}" for path in logs)


def _steps(root, node):
    """The processes of a node's jobs, those first that would tell the controller how the others ended."""
    wanted = {f"SLURM_CONF={root}/slurm.conf", f"SLURMD_NODENAME={node}"}
    own, parents = _with_environment(wanted), set()
    for process in own:
        with contextlib.suppress(OSError):
            parents.add(int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]))
    managers = [
        parent for parent in parents if Path(f"/proc/{parent}/cmdline").read_text(errors="replace")[:10] == "slurmstepd"
    ]
    return [*managers, *own]


def _with_environment(wanted):
    """The processes that have all of the ``wanted`` settings in their environment; never this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((process / "environ").read_text(errors="replace").split("\0")):
                found.append(int(process.name))
    return [process for process in found if process != os.getpid()]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _wait(ready, complaint, said, seconds=UP_SECONDS):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"{complaint} after {seconds} s\n{said()}")
        time.sleep(0.2)


@contextlib.contextmanager
def cluster():
    """A running cluster of two nodes."""
    with tempfile.TemporaryDirectory(prefix="fffbench-slurm-") as folder:
        running = Cluster(Path(folder))
        try:
            running.start()
            yield running
        finally:
            running.stop()


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    with cluster() as up:
        sys.stdout.write(f"export SLURM_CONF={up.root}/slurm.conf   # Ctrl-C ends it\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
