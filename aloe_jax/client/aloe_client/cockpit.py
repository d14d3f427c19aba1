"""A page on which a person watches a robot, takes over, and says how an episode ended.

    with cockpit.serve(recorder) as page:
      while page.wait():  # until a person says next; False once they say stop
        pace = recorder.pace()
        while recorder.recording:
          pace.wait()
          ...

It is served by threads of the robot's own program, which nothing on the page can slow down: each
page gets a state ten times a second, and the next one only once it has drawn the last.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import hmac
import http
import ipaddress
import logging
import pathlib
import socket
import ssl
import threading
import time
from typing import Any
import urllib.parse

from websockets import datastructures
from websockets import exceptions
from websockets import http11
from websockets.sync import server as server_lib

from aloe_client import commands as commands_lib
from aloe_client import door as door_lib
from aloe_client import loopback
from aloe_client import pages
from aloe_client import told as told_lib

PORT = 8010
_PAGES = 16  # open at a time
_UNPROVEN = 32  # connections that are no page yet: they have not asked, or not said the key
_PATIENCE = 2.0  # seconds until they have to say it
_OPENING = 3.0  # seconds until they have to have asked
_FAREWELL = 2.0  # seconds for telling all pages that the program ends
_ENDED = 4410  # the code that tells it
_LARGEST = 4096  # bytes of what a page says
_LONGEST_REASON = 120  # bytes, of those that close a websocket
_FILES = {
  '/': ('cockpit.html', 'text/html'),
  '/cockpit.css': ('cockpit.css', 'text/css'),
  '/cockpit.js': ('cockpit.js', 'text/javascript'),
  '/cockpit_plot.js': ('cockpit_plot.js', 'text/javascript'),
}
_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
  ),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
}


class Cockpit:
  """The page of a recorder, while it is served; see `serve`.

  Attributes:
    url: to open in a browser; it ends with the key, if there is one.
    commands: what buttons do.
    views: what pages see.
    door: where connections wait that are no page yet.
  """

  def __init__(self, recorder: Any, url: str, key: str | None, insecure: bool):
    self.url = url + (f'#key={urllib.parse.quote(key)}' if key else '')
    self.commands = commands_lib.of(recorder)
    self._key, self._insecure = key, insecure
    self.views = pages.Views(recorder)
    self._rooms = threading.BoundedSemaphore(_PAGES)
    self.door = door_lib.Door(_UNPROVEN)
    self._lock = threading.Lock()
    self._open: set[server_lib.ServerConnection] = set()

  @property
  def stopped(self) -> bool:
    """Whether a person has said stop."""
    return self.commands.stopped

  def wait(self, timeout: float | None = None) -> bool:
    """Waits until an episode may begin; see `commands.Commands.wait`."""
    return self.commands.wait(timeout)

  def answer(
    self, connection: server_lib.ServerConnection, request: http11.Request
  ) -> http11.Response | None:
    """The reply to a request of HTTP; None for one that becomes a websocket."""
    host, path = request.headers.get('Host', ''), urllib.parse.urlsplit(request.path).path
    if not self._key and not _is_own(host):
      text = f'The cockpit is not at {host}; open it by the address of its machine.\n'
      return connection.respond(http.HTTPStatus.FORBIDDEN, text)
    if path == '/live':
      origin = request.headers.get('Origin')
      if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
        return connection.respond(
          http.HTTPStatus.FORBIDDEN, f'A page of {origin} may not move this robot.\n'
        )
      return None
    if path not in _FILES:
      return connection.respond(http.HTTPStatus.NOT_FOUND, f'There is no {path}.\n')
    name, kind = _FILES[path]
    body = (pathlib.Path(__file__).parent / name).read_bytes()
    headers = {'Content-Type': f'{kind}; charset=utf-8', 'Content-Length': str(len(body))}
    headers.update(_HEADERS, Connection='close')
    return http11.Response(200, 'OK', datastructures.Headers(headers), body)

  def attend(self, connection: server_lib.ServerConnection) -> None:
    """Shows one page what goes on, and does what it says, until it is closed."""
    with contextlib.suppress(exceptions.ConnectionClosed, TimeoutError):
      if not self._admits(connection):
        return
      if not self._rooms.acquire(blocking=False):
        connection.close(1013, f'{_PAGES} pages are open already')
        return
      self.door.let_in(connection.socket)
      with self._lock:
        self._open.add(connection)
      try:
        pages.Page(connection, self.commands, self.views).run()
      finally:
        with self._lock:
          self._open.discard(connection)
        self._rooms.release()

  def say_ended(self, why: str) -> None:
    """Tells all pages that the program closes them, so that none takes it for a broken line.

    Args:
      why: in some words, or empty.
    """
    with self._lock:
      left = list(self._open)
    reason = told_lib.printable(why).encode()[:_LONGEST_REASON].decode(errors='ignore')
    threads = [
      threading.Thread(target=connection.close, args=(_ENDED, reason), daemon=True)
      for connection in left
    ]
    end = time.monotonic() + _FAREWELL
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join(max(end - time.monotonic(), 0))

  def _admits(self, connection: server_lib.ServerConnection) -> bool:
    """Whether a page knows the key; one that does not say it takes no room of one that does."""
    if not self._key:
      return True
    told = pages.read(connection.recv(timeout=_PATIENCE)).get('key')
    if isinstance(told, str) and hmac.compare_digest(
      told.encode(errors='replace'), self._key.encode()
    ):
      return True
    time.sleep(0.5)  # nobody tries many
    connection.close(4401, 'another key')
    return False


@contextlib.contextmanager
def serve(
  recorder: Any,
  *,
  port: int = PORT,
  host: str = '127.0.0.1',
  key: str | None = None,
  tls: ssl.SSLContext | None = None,
  insecure: bool = False,
) -> Iterator[Cockpit]:
  """Serves the page of a recorder.

  Args:
    recorder: a `Recorder`.
    port: 0 takes any that is free.
    host: address to listen at; by default this machine alone can open the page.
    key: that a page has to know.
    tls: for https, of a server; its `num_tickets` becomes 0.
    insecure: listen at other addresses without a key.

  Raises:
    ValueError: another address than the machine's own without a key, no port, or a context of
      TLS that is a client's.
    OSError: the port is taken.
  """
  if not (loopback.is_loopback(host) or key or insecure):
    raise ValueError(
      f'host: {host} lets others than this machine move the robot, and there is no key; give '
      'key=..., or insecure=True. Over SSH neither is needed: ssh -L 8010:localhost:8010 ROBOT.'
    )
  if key is not None and not (key and key.isascii() and key.isprintable()):
    raise ValueError('key: expected one or more characters of ASCII.')
  if not (type(port) is int and 0 <= port < 2**16):
    raise ValueError(f'port: found {port!r}, expected a whole number from 0 to 65535.')
  if tls is not None:
    if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
      raise ValueError(
        "tls: found a client's context, expected ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) with the "
        'certificate and key of this machine.'
      )
    tls.num_tickets = 0  # one that comes while a client writes can hang that client, where it reads
    # in another thread, as clients of websockets.sync do
  listening = _listen(host, port)
  port = listening.getsockname()[1]
  shown = socket.gethostname() if host in ('0.0.0.0', '::', '') else host
  shown = f'[{shown}]' if ':' in shown else shown
  page = Cockpit(recorder, f'http{"s" if tls else ""}://{shown}:{port}/', key, insecure)
  running = server_lib.serve(
    page.attend,
    sock=listening,
    ssl=tls,
    process_request=page.answer,
    compression=None,
    max_size=_LARGEST,
    open_timeout=_OPENING,
    ping_interval=5,
    ping_timeout=5,
    close_timeout=1,
    logger=_quiet_logger(),
  )
  running.handler = page.door.guarding(running.handler)
  threads = [
    threading.Thread(target=work, name='aloe_cockpit', daemon=True)
    for work in (running.serve_forever, page.views.run)
  ]
  for thread in threads:
    thread.start()
  page.commands.open()
  recorder.events.add('cockpit', f'The cockpit is at {page.url.partition("#")[0]}')
  why = ''
  try:
    yield page
    why = 'a person said Stop' if page.stopped else ''
  except BaseException as error:
    why = (
      'interrupted' if isinstance(error, KeyboardInterrupt) else f'{type(error).__name__}: {error}'
    )
    raise
  finally:
    page.commands.close()
    page.say_ended(why)
    running.shutdown()
    page.views.end()
    for thread in threads:
      thread.join()


def _listen(host: str, port: int) -> socket.socket:
  try:
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family)
  except OSError as error:
    raise OSError(
      error.errno,
      f'the cockpit cannot listen at {host}:{port} ({error.strerror or error}); pass another port, '
      'or port=0 for any that is free',
    ) from error


def _is_own(host: str) -> bool:
  """Whether a name is no name of somebody else's that was made to lead here."""
  name = urllib.parse.urlsplit(f'//{host}').hostname or ''
  with contextlib.suppress(ValueError):
    ipaddress.ip_address(name)
    return True
  own = socket.gethostname().lower()
  return name in ('localhost', own, f'{own}.local', own.partition('.')[0])


def _quiet_logger() -> logging.Logger:
  """A page that is closed while it loads is no news."""
  logger = logging.getLogger('aloe_client.cockpit.socket')
  logger.setLevel(logging.CRITICAL)
  return logger
