"""Connections to a page's server that have not shown yet who they are: a few, for a short time.

Whoever reaches the port can open connections and say nothing. Each of them has a thread of the
robot's program, so there are never many: of too many the oldest goes, never the one that comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import socket
import threading
from typing import Any

Handler = Callable[[socket.socket, Any], None]


class Door:
  """Sockets between their first byte and the moment that they are let in."""

  def __init__(self, room: int):
    """Holds nobody.

    Args:
      room: sockets at a time.
    """
    self._room, self._lock = room, threading.Lock()
    self._sockets: list[socket.socket] = []

  def guarding(self, handler: Handler) -> Handler:
    """A handler of sockets whose sockets wait at the door, until they are let in or it ends."""

    def guarded(opened: socket.socket, address: Any) -> None:
      with self._entered(opened):
        handler(opened, address)

    return guarded

  def let_in(self, opened: socket.socket) -> None:
    """A socket has shown who it is, and no longer has to go."""
    with self._lock, contextlib.suppress(ValueError):
      self._sockets.remove(opened)

  @contextlib.contextmanager
  def _entered(self, opened: socket.socket) -> Iterator[None]:
    with self._lock:
      self._sockets.append(opened)
      left = self._sockets.pop(0) if len(self._sockets) > self._room else None
    if left is not None:
      with contextlib.suppress(OSError):  # it is closed already
        socket.socket.shutdown(left, socket.SHUT_RDWR)  # not TLS's own, which another thread reads
    try:
      yield
    finally:
      self.let_in(opened)
