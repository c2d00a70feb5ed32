"""A lock where the operating system offers none, above all on object stores: a lease that its holder renews.

A lease that is renewed no more is taken over: at once when its holder was a process of this machine that is
gone, otherwise after watching it for a while, so that no two clocks need to agree. Its holder believes in it
for a part of that while only: who was cut off, or asleep, looks before writing anything more.
"""

import threading
import time
from contextlib import suppress
from typing import Self

from engine.errors import SonotuneError, StorageError, without_secrets
from engine.lock.holder import Holder, by_kernel, encode, parse, refused
from engine.results import RunPaths
from engine.storage import Storage

BEAT = 10.0  # seconds between two signs of life of a lease
SILENT = 4  # beats without a sign after which a lease counts as abandoned
FRESH = 2  # beats after the last sign within which a holder need not look again
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SETTLE = 1.0  # seconds between writing a lease and believing it: another driver may have written as well


def uptime() -> float:
    """Seconds since the machine was started. Python's monotonic clock stands still while Linux sleeps."""
    return time.clock_gettime(CLOCK)


class Lock:
    """Held from its making on."""

    taken_over: str | None = None  # who held it before and did not let it go

    def check(self) -> None:
        """Raises when the lock was lost meanwhile; asked before each commit of the journal."""

    def release(self) -> None:
        """Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Lease(Lock):
    def __init__(
        self, storage: Storage, beat: float = BEAT, silent: float = SILENT, settle: float = SETTLE
    ) -> None:
        self.storage = storage
        self._place = without_secrets(storage.location)
        self._me = Holder.me()
        self._lost: str | None = None
        self._over = threading.Event()
        self._turn, self._beats = threading.Lock(), 0
        self._fresh, self._patience, self._settle = FRESH * beat, beat * silent, settle
        self._wait_until_free(beat * silent)
        self._take(beat, settle)
        self._beating = threading.Thread(target=self._beat, args=(beat,), name="lease", daemon=True)
        self._beating.start()

    def check(self) -> None:
        if self._lost is None and uptime() - self._sure > self._fresh:
            self._renew()
        if self._lost:
            raise SonotuneError(
                f"this driver lost the lock of {self._place}: {self._lost}; it stops here so that "
                "no two drivers write: resume when no other driver runs"
            )

    def release(self) -> None:
        """It may be another driver's by now, without a beat of ours having met it. What a storage refuses
        here would hide why the study stopped; a lease that stays is free after a while."""
        if self._over.is_set():
            return
        self._over.set()
        self._beating.join()
        with suppress(StorageError):
            now = parse(self._read() or b"")
            if now is not None and now.token == self._me.token:
                self.storage.delete(RunPaths.lock)

    def _read(self) -> bytes | None:
        try:
            return self.storage.read(RunPaths.lock)
        except FileNotFoundError:
            return None

    def _write(self, beats: int) -> None:
        self.storage.write(RunPaths.lock, encode(self._me, beats))

    def _take(self, beat: float, settle: float) -> None:
        """A write that was long on its way may have landed on somebody's confirmed lease: then this driver
        waits until that one has looked after its own."""
        began = self._sure = uptime()
        self._write(0)
        quick = uptime() - began < settle / 2
        time.sleep(settle if quick else (FRESH + 1) * beat)
        self._sure = uptime()
        self._confirm()

    def _wait_until_free(self, silence: float) -> None:
        """Watches whether the lease changes instead of reading its time: clocks differ and jump."""
        seen = self._read()
        holder = parse(seen or b"")
        if seen is None or (holder and holder.gone()):
            self.taken_over = str(holder) if holder else None
            return
        if by_kernel(seen):
            raise refused(
                holder,
                f"{self._place}/{RunPaths.lock}",
                "its machine locks files and this one cannot; delete that file if the driver is dead",
            )
        if self._changes(seen, silence):
            raise refused(
                parse(self._read() or b"") or holder,
                f"{self._place}/{RunPaths.lock}",
                f"a dead driver's lease is free after {silence:g} seconds",
            )
        if self._read() is not None:  # else it was let go while it was watched
            self.taken_over = str(holder) if holder else "a damaged lease"

    def _changes(self, seen: bytes, silence: float) -> bool:
        end = time.monotonic() + silence
        while time.monotonic() < end:
            time.sleep(min(1.0, silence / 10))
            now = self._read()
            if now is None:
                return False
            if now != seen:
                return True
        return False

    def _confirm(self) -> None:
        """Of two drivers that wrote at the same time, only the later one finds its own lease."""
        now = parse(self._read() or b"")
        if now is None or now.token != self._me.token:
            raise refused(
                now,
                f"{self._place}/{RunPaths.lock}",
                "both started at the same time",
            )

    def _beat(self, beat: float) -> None:
        """A storage that does not answer is no reason to stop; somebody else's lease is."""
        while not self._over.wait(beat) and self._lost is None:
            try:
                self._renew()
            except Exception:  # whatever a storage may say; `check` looks for itself when no sign got through
                continue

    def _renew(self) -> None:
        """Each sign differs from the one before, whoever of the two threads gives it."""
        with self._turn:
            began = uptime()
            found = self._read()
            now = parse(found or b"")
            if found is None:
                self._lost = "its lease was deleted"
            elif now is None or now.token != self._me.token:
                self._lost = f"it is held by {now or 'another driver'}"
            elif not self._over.is_set():
                self._beats += 1
                self._write(self._beats)
                if self._may_have_met(began):
                    self._lost = "its sign of life was so long on its way that another may have begun"
                self._sure = began

    def _may_have_met(self, began: float) -> bool:
        """A sign that was read as ours and lands when another driver's lease is confirmed already: that one
        must have found this silent for long, and looks once more when its own has settled."""
        now = uptime()
        return now - began > self._settle and now - self._sure > self._patience
