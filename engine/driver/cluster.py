"""Starts a Ray of our own, or joins one that was named; leaves neither files nor processes behind."""

import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray._private.worker as ray_worker
from ray._private import ray_constants, services

from engine.driver.orphan import watched
from engine.driver.scratch import scratch
from engine.errors import SonotuneError

log = logging.getLogger("sonotune")

PACKAGES = ("engine", "reports")
REACH_SECONDS = 10.0

QUIET = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_worker_niceness": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "5",
}


@contextmanager
def connected(
    address: str | None,
    workers: int | None = None,
    gpus: int | None = None,
    leave: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Yields a scratch folder that is gone afterwards. `workers` and `gpus` size a Ray of our own; `leave` is
    told of its death."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its tracebacks of lost workers are in run.log
    with scratch() as folder, _heard_by_the_log():
        try:
            with _told_to_go():
                if address:
                    _join(address)
                else:
                    with _on_loopback(), _in_sessions_of_their_own():
                        _start(folder, workers, gpus)
            with _told_to_go(), watched(leave) if leave and not address else nullcontext():
                yield folder
        finally:
            ray.shutdown()


@contextmanager
def _told_to_go() -> Iterator[None]:
    """SIGTERM is like Ctrl-C: Ray would take it for a crash, print a stack of C++ and abort. While it starts,
    it puts handlers of its own in our place, which end the process with numbers of their own."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(folder: Path, workers: int | None, gpus: int | None) -> None:
    """Ray gives its own processes half a minute, which may be too short while other work starts as well: it
    gets a second chance. Where the driver is killed, Ray's helpers look that long for what died with it, then
    go too; a driver that a full machine holds up for less than that must not be ended by its own Ray."""
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "30")
    try:
        _init(folder, workers, gpus)
    except Exception as first:  # Ray raises plain ones
        log.warning("Ray did not start (%s); once more", first)
        ray.shutdown()
        try:
            _init(folder, workers, gpus)
        except Exception as error:
            raise SonotuneError(
                f"Ray does not start on this machine: {error} If other work keeps it busy, wait for that; "
                "`sonotune doctor` looks at memory and /dev/shm"
            ) from error


def _init(folder: Path, workers: int | None, gpus: int | None) -> None:
    """`address="local"` never attaches to somebody else's Ray. Sockets need a short path, hence /tmp."""
    ray.init(
        address="local",
        num_cpus=workers,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
        _temp_dir=str(folder),
    )


@contextmanager
def _heard_by_the_log() -> Iterator[None]:
    """What Ray tells of its nodes belongs to `run.log`; Ray prints it, whatever is on the screen by then."""
    usual, ray_worker.print_to_stdstream = ray_worker.print_to_stdstream, _note
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = usual


def _note(data: Any, ignore_prefix: bool) -> None:
    for line in data["lines"]:
        log.info("Ray: %s", line)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray of our own listens to this machine alone. Ray has a switch for that, which it only asks on macOS
    and Windows; on Linux all its servers would listen on every interface."""
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _in_sessions_of_their_own() -> Iterator[None]:
    """Whoever tells the driver's whole process group to go, as `timeout` and batch systems do, is to tell the
    driver alone. Without its Ray it could not clean up: Ray waits for half a minute, then aborts it."""
    names = vars(services)
    usual = names["ConsolePopen"]
    names["ConsolePopen"] = partial(usual, start_new_session=True)
    try:
        yield
    finally:
        names["ConsolePopen"] = usual


def check_address(address: str | None) -> None:
    """Ray itself would wait for minutes for a host that is not there. It joins `127.0.0.1` by the machine's
    other address, at which a head that was started for loopback alone does not listen."""
    found = address if not address or address.startswith("ray://") else _known_here(address)
    place = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", found or "")
    if place is None:
        return
    told = address if found == address else f"{address}, which is {found}"
    try:
        socket.create_connection((place[1], int(place[2])), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise SonotuneError(
            f"nothing answers at --address {told} ({error}); check it with `ray status` on the cluster, "
            "or leave --address out to run on this machine"
        ) from error


def _known_here(address: str) -> str | None:
    """Where Ray goes; for `auto` RAY_ADDRESS, or what a head on this machine left behind, be that alive or
    not."""
    try:
        return services.canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError):
        return None  # joining it says why


def _join(address: str) -> None:
    """The cluster's workers get this very code, whatever they have installed."""
    root = Path(__file__).parents[2]
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": [str(root / name) for name in PACKAGES]},
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SonotuneError(
            f"cannot join the Ray cluster at {address!r}: {error}. Check it with `ray status` there, "
            "and that RAY_AUTH_TOKEN or ~/.ray/auth_token here holds the token that the head has "
            "(`ray get-auth-token`); or leave --address out to run on this machine"
        ) from error
