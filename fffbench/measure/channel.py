"""How do the judge and the measuring process talk? One JSON object per packet; shared memory goes with one of them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any, Self

MOST_BYTES = 180_000  # of one packet: below the system's default for a socket's buffer


class GoneError(Exception):
    """The other side has closed the channel."""


class Channel:
    """One end of a pair."""

    def __init__(self, end: socket.socket) -> None:
        """Wrap ``end``."""
        self._end = end
        self.descriptor: int | None = None  # that came with the last message

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Two ends, each the other's peer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send ``message``, and an open file with it; ``GoneError`` when nobody is there."""
        packet = json.dumps(message).encode()
        try:
            if descriptor is None:
                self._end.sendall(packet)
            else:
                socket.send_fds(self._end, [packet], [descriptor])
        except OSError as error:
            raise GoneError from error

    def receive(self) -> dict[str, Any]:
        """The next message; ``GoneError`` when there will be none, ``ValueError`` for what is no JSON object."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._end, MOST_BYTES, 1)
        except OSError as error:
            raise GoneError from error
        if not packet:
            raise GoneError
        self.descriptor = descriptors[0] if descriptors else None
        message = json.loads(packet)
        if not isinstance(message, dict):
            raise ValueError("no JSON object")  # noqa: TRY004  (as for any other packet that is not one)
        return message

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def keep_alone(self) -> None:
        """Close every other open file of this process but standard input, output and errors."""
        for path in list(Path("/proc/self/fd").iterdir()):
            if int(path.name) > 2 and int(path.name) != self._end.fileno():
                with contextlib.suppress(OSError):  # the list's own
                    os.close(int(path.name))


def shared_memory(size: int) -> int:
    """The descriptor of a new file in memory."""
    descriptor = os.memfd_create("fffbench")
    os.ftruncate(descriptor, size)
    return descriptor
