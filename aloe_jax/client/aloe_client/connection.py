"""A connection to a policy server: openpi's protocol, one request at a time.

A reply belongs to its request: one that comes too late can be mistaken for no other, since a
connection that has been silent for too long is closed and opened anew.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import inspect
import itertools
import logging
import queue
import socket
import ssl
import threading
import time
from typing import Any
import urllib.parse
import uuid

from websockets import exceptions
from websockets.sync import client

from aloe_client import acting
from aloe_client import addresses
from aloe_client import greeting
from aloe_client import robot as robot_lib
from aloe_client import told as told_lib
from aloe_client import wire

_LARGEST = 64 * 2**20  # bytes of a message
_FIRST_REPLY = 120  # seconds
_PING = 20  # seconds; a missing answer to a ping closes nothing: a request has its own limit
_log = logging.getLogger('aloe_client.websockets')
_log.setLevel(logging.CRITICAL + 1)  # tracebacks of what is told in a sentence here
_OPTIONS: dict[str, Any] = (
  {'legacy': True} if 'legacy' in inspect.signature(client.connect).parameters else {}
)


class LostServerError(ConnectionError):
  """The server cannot be reached, or has fallen silent; later it may be there again."""


class UnfitServerError(ValueError):
  """What answers is no policy server, refuses the key, or has a policy of another robot."""


class ServerError(RuntimeError):
  """The sentence by which a server refused one request; the connection goes on."""


class Connection:
  """Asks a server for actions; it is opened when it is first needed.

  Attributes:
    address: such as ws://robot:8000.
    metadata: what the server said when the connection was opened last.
  """

  def __init__(
    self,
    address: str,
    *,
    key: str | None = None,
    certificate: str | None = None,
    robot: robot_lib.Robot | None = None,
    timeout: float = 10.0,
    reply_timeout: float = 10.0,
  ):
    """Opens nothing yet.

    Args:
      address: host, host:port, ws://host:port or wss://host:port.
      key: that the server asks for.
      certificate: file of the authority that signed a server's own certificate (wss).
      robot: held against what the server says of its policy.
      timeout: seconds that opening may take.
      reply_timeout: seconds that a reply may take; the first one of a connection, for which a
        server may have to compile, has two minutes.

    Raises:
      ValueError: the address is none, the key is none, or the file is no certificate.
    """
    self.address = addresses.uri(address)
    self.metadata: dict[str, Any] = {}
    self._headers = {'Authorization': f'Api-Key {addresses.key(key)}'} if key else {}
    self._context = _context(self.address, certificate)
    self._robot = robot or robot_lib.Robot()
    self._timeout, self._reply_timeout = timeout, reply_timeout
    self._socket: client.ClientConnection | None = None
    self._answered = False
    self._first: dict[str, Any] | None = None  # metadata
    self._news: dict[str, Any] = {}  # of the checkpoint, that no reply has told
    self._lock = threading.Lock()
    self._ids = itertools.count()
    self._name = uuid.uuid4().hex[:8]

  @property
  def is_ours(self) -> bool:
    """Whether the server understands the options of a request, once it is open."""
    return isinstance(self.metadata.get('aloe'), dict)

  def open(self) -> dict[str, Any]:
    """Opens the connection if it is not open, and checks what the server says of itself.

    Raises:
      LostServerError: it cannot be reached.
      UnfitServerError: it is no server for this robot.
    """
    with self._lock:
      if self._socket is None:
        self._open()
      return self.metadata

  def infer(self, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request; `actions` in it are finite float32 [h, A].

    Raises:
      LostServerError: there is no reply; the connection is closed, and opened by the next request.
      UnfitServerError: see `open`, or the reply is none that this robot can use.
      ServerError: the server refuses this request.
      wire.WireError: the request holds what cannot be sent.
    """
    with self._lock:
      if self._socket is None:
        self._open()
      name = None
      if self.is_ours:
        name = f'{self._name}-{next(self._ids)}'
        request = {**request, 'aloe': {**request.get('aloe', {}), 'id': name}}
      found = self._exchange(wire.pack(request))
      if isinstance(found, str):
        raise ServerError(_sentence(found))
      return self._checked(self._message(found), name)

  def close(self) -> None:
    """Closes the connection, also under a thread that waits for a reply."""
    current = self._socket
    if current is not None:
      _abort(current)
    if self._lock.acquire(timeout=1):  # else it is being opened, by a thread that ends by itself
      try:
        self._drop()
      finally:
        self._lock.release()

  def _open(self) -> None:
    end = time.monotonic() + self._timeout

    def left() -> float:
      return max(end - time.monotonic(), 0.05)

    with _Named(self.address, self._timeout):
      _look_up(self.address, left())
      options: dict[str, Any] = {
        'ssl': self._context,
        'additional_headers': self._headers,
        'compression': None,
        'max_size': _LARGEST,
        'open_timeout': left(),
        'close_timeout': 1,
        'ping_interval': _PING,
        'ping_timeout': None,
        'proxy': None,
        'logger': _log,
      }
      self._socket = client.connect(self.address, **options, **_OPTIONS)
    try:
      with _Named(self.address, self._timeout):
        first = self._socket.recv(timeout=left())
      if isinstance(first, str):
        raise UnfitServerError(f'{self.address}: {_sentence(first)}')
      metadata = self._message(first)
      if fault := told_lib.fault(metadata):
        raise UnfitServerError(f'{self.address} says of its policy {fault} Nothing was moved.')
      if differences := self._robot.differences(metadata):
        raise UnfitServerError(
          f'{self.address} has a policy of another robot: {"; ".join(differences)}. Nothing was '
          'moved; start the server with the checkpoint of this robot.'
        )
      if self._first is not None and (changes := greeting.changes(self._first, metadata)):
        raise UnfitServerError(
          f'{self.address} has another policy than when this program began: {"; ".join(changes)}. '
          'Nothing of it is played; start the server as it was, or this program anew.'
        )
      self.metadata, self._first = metadata, self._first or metadata
      told = metadata.get('aloe') or {}
      self._news = {name: told.get(name) for name in acting.FACTS} if self.is_ours else {}
    except BaseException:
      self._drop()
      raise

  def _exchange(self, data: bytes) -> str | bytes:
    """Sends bytes and waits for the answer; a connection that fails is closed."""
    assert self._socket is not None
    limit = self._reply_timeout if self._answered else max(self._reply_timeout, _FIRST_REPLY)
    watch = threading.Timer(limit + 1, _abort, [self._socket])  # of a peer that never reads
    watch.daemon = True
    watch.start()
    try:
      self._refuse_waiting()
      self._socket.send(data)
      found = self._socket.recv(timeout=limit)
      self._answered = True
      return found
    except TimeoutError:
      self._drop()
      raise LostServerError(
        f'{self.address}: no reply within {limit:g} s; the connection was closed.'
      ) from None
    except LostServerError:
      self._drop()
      raise
    except Exception as error:  # the library asserts what garbage at the right moment breaks
      self._drop()
      raise LostServerError(f'{self.address}: the connection was lost: {_short(error)}.') from None
    finally:
      watch.cancel()

  def _refuse_waiting(self) -> None:
    """Raises LostServerError where the server has sent what nobody asked for.

    Servers of openpi name no request in a reply: it would be taken for the answer to the next.
    """
    assert self._socket is not None
    with contextlib.suppress(TimeoutError):
      self._socket.recv(timeout=0)
      raise LostServerError(
        f'{self.address}: sent a message that nobody asked for; the connection was closed.'
      )

  def _message(self, data: Any) -> dict[str, Any]:
    try:
      found = wire.unpack(data)
    except wire.WireError as error:
      self._drop()
      raise UnfitServerError(f'{self.address}: {error}; expected a policy server.') from None
    if not isinstance(found, dict):
      self._drop()
      raise UnfitServerError(
        f'{self.address}: found a {type(found).__name__}, expected a map, as policy servers send.'
      )
    return found

  def _checked(self, reply: dict[str, Any], name: str | None) -> dict[str, Any]:
    """The reply, once it is one to this request and for this robot."""
    told = reply.get('aloe')
    plain = told is None or isinstance(told, dict)  # or else it is refused below
    if name is not None and plain and (told or {}).get('id') != name:
      self._drop()
      raise LostServerError(f'{self.address}: the reply belongs to another request.')
    part = self._robot.action
    size = part.size if part is not None else told_lib.width(self.metadata)
    try:
      actions = told_lib.actions(reply, size, told_lib.horizon(self.metadata))
      about = told_lib.about(reply)
    except ValueError as error:
      raise UnfitServerError(f'{self.address}: {error}') from None
    about, self._news = {**self._news, **about}, {}
    return {**reply, 'actions': actions, **({'aloe': about} if about else {})}

  def _drop(self) -> None:
    dropped, self._socket, self._answered = self._socket, None, False
    if dropped is not None:
      _abort(dropped)
      threading.Thread(target=_close, args=[dropped], daemon=True).start()  # it may wait a second


def _look_up(address: str, timeout: float) -> None:
  """Looks the host's name up, which no limit of a connection is about.

  Raises:
    OSError: it is not known, or not within the time.
  """
  parts = urllib.parse.urlsplit(address)
  found: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

  def work() -> None:
    try:
      socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
      found.put(None)
    except OSError as error:
      found.put(error)

  threading.Thread(target=work, daemon=True).start()
  try:
    error = found.get(timeout=timeout)
  except queue.Empty:
    error = socket.gaierror('not in time')
  if error is not None:
    raise error


def _context(address: str, certificate: str | None) -> ssl.SSLContext | None:
  if not address.startswith('wss:'):
    if certificate is not None:
      raise ValueError(f'{address}: found a certificate, expected wss:// in front of the address.')
    return None
  try:
    return ssl.create_default_context(cafile=certificate)
  except OSError as error:
    raise ValueError(f'{certificate}: found no certificate that can be read: {error}.') from None


class _Named:
  """What goes wrong while a connection opens becomes one sentence that says what to do."""

  def __init__(self, address: str, timeout: float):
    self._address, self._timeout = address, timeout

  def __enter__(self) -> None:
    pass

  def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
    told = _told(error, self._timeout) if error is not None else None
    if told is not None:
      made, text = told
      raise made(f'{self._address}: {text}') from None


def _told(error: BaseException, timeout: float) -> tuple[Callable[[str], Exception], str] | None:
  """The kind of error and the sentence for what a library raised."""
  if isinstance(error, exceptions.InvalidStatus):
    status = error.response.status_code
    if status in (401, 403):
      return UnfitServerError, 'the server refuses the key; pass the one it was started with.'
    if status == 503:
      return LostServerError, 'the server has no room for another connection, or is not ready.'
    return UnfitServerError, f'answers HTTP status {status}; expected a policy server there.'
  if isinstance(error, exceptions.ConnectionClosed):
    why = told_lib.printable(error.rcvd.reason) if error.rcvd is not None else ''
    return LostServerError, f'closed the connection at once{f": {why}" if why else ""}.'
  if isinstance(error, TimeoutError):
    return LostServerError, (
      f'took the connection but did not answer as a policy server does within {timeout:g} s.'
    )
  if isinstance(error, ssl.SSLError):
    return UnfitServerError, (
      f'TLS failed ({_short(error)}); pass the certificate of its authority, or ws:// where the '
      'server has none.'
    )
  if isinstance(error, ConnectionRefusedError):
    return LostServerError, 'nothing listens there; start the server, or name its host and port.'
  if isinstance(error, socket.gaierror):
    return LostServerError, 'no such host is known; name its host and port.'
  if isinstance(error, OSError):
    return LostServerError, f'cannot be reached: {_short(error)}.'
  if isinstance(error, Exception):  # garbage breaks what the library asserts, in several ways
    return UnfitServerError, 'what answers there is no websocket; expected a policy server.'
  return None


def _sentence(text: str) -> str:
  """A server's own words in one line; of a traceback the last one, which says what it was."""
  lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
  if not lines:
    return 'the server refused without a word'
  if lines[0].startswith('Traceback'):
    return told_lib.printable(lines[-1])
  return told_lib.printable(' '.join(lines).replace('Error in inference server: ', '', 1))


def _short(error: BaseException) -> str:
  return told_lib.printable(' '.join(str(error).split()).rstrip('.')) or type(error).__name__


def _abort(opened: client.ClientConnection) -> None:
  with contextlib.suppress(OSError):  # it is closed already
    opened.socket.shutdown(socket.SHUT_RDWR)


def _close(opened: client.ClientConnection) -> None:
  with contextlib.suppress(exceptions.WebSocketException, OSError, EOFError):  # it was lost anyway
    opened.close()
