"""Who holds a run, as a lock writes it down, and whether that process still lives."""

import json
import os
import platform
import pwd
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from engine.errors import SonotuneError


@dataclass(frozen=True)
class Holder:
    """Who holds a run. `place` (boot and process namespace) tells whether its pid means anything here."""

    token: str
    pid: int
    started: str
    place: str
    host: str
    user: str
    since: str

    @classmethod
    def me(cls) -> "Holder":
        pid = os.getpid()
        now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        return cls(uuid4().hex, pid, start_time(pid) or "", place(), platform.node(), _user(), now)

    def gone(self) -> bool:
        """Surely dead: a process of this very machine that no longer runs, or whose pid is another's now.
        Nobody is where nothing tells when processes began."""
        return self.place == place() and (start_time(self.pid) or "") != self.started

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host} since {self.since}"


def _user() -> str:
    """By whom the process really runs: the environment may name nobody, or who somebody was before."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container numbers need no names
        return f"user {os.getuid()}"


def start_time(pid: int) -> str | None:
    """When the process began, in ticks since boot; None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


KERNEL = -1  # in the place of beats: the kernel holds this lock, and it is silent as long as it is held


def encode(holder: Holder, beats: int = 0) -> bytes:
    return (json.dumps(asdict(holder) | {"beats": beats}, indent=1) + "\n").encode()


def parse(data: bytes) -> Holder | None:
    """None for an empty or damaged file, which says nothing about who holds it."""
    try:
        record = json.loads(data)
        record.pop("beats", None)
        return Holder(**record)
    except (ValueError, TypeError, AttributeError):
        return None


def by_kernel(data: bytes) -> bool:
    try:
        return bool(json.loads(data)["beats"] == KERNEL)
    except (ValueError, TypeError, KeyError):
        return False


def refused(holder: Holder | None, lock: str, note: str) -> SonotuneError:
    who = holder or "another driver"
    stop = f"stop it (`kill {holder.pid}` on {holder.host})" if holder else "stop it"
    return SonotuneError(
        f"the run is held by {who}, and only one driver may write to it; wait until it ends or {stop} "
        f"({note}; the lock is {lock})"
    )
