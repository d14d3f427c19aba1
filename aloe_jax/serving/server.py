"""openpi's websocket protocol: a frame of metadata, then a reply to every request.

The loop that talks to the sockets never computes: messages are read and packed by a few threads,
and one more asks the model. So a slow model, a slow robot or a bad message keeps nobody else from
being answered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent import futures
import contextlib
import dataclasses
import hmac
import http
import itertools
import logging
import ssl
import time
from typing import Any

from websockets.asyncio import server as websockets_server
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.http11 import Response

from aloe_client import wire
from aloe_jax.serving import batching
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import requests
from aloe_jax.serving import telemetry as telemetry_lib
from aloe_jax.serving import version as version_lib

_ALIVE = 20.0, 60.0  # seconds between two pings, and until a missing answer ends a connection
_SENDING = 30.0  # seconds after which a robot that takes no bytes is left
_FINISHING = 10.0  # seconds that robots are waited for at the end
_SENTENCE = 600  # characters of an error, which quotes what was sent
_THREADS = 4
_FAULT = 'the policy could not answer; the log of the server says why.'


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a server listens.

  Attributes:
    host: to listen at.
    port: to listen at; 0 for any that is free.
    key: that a robot has to know; '' for none.
    tls: certificate and key of the server, or None; its `num_tickets` becomes 0.
    message_bytes: the longest message that is read.
    connections: at a time; more are refused.
    largest: requests that are answered together.
    batch_seconds: that a request waits for others.
    room: requests that may wait.
    seed: of the noise of requests that name none; each one counts it up.
  """

  host: str = '127.0.0.1'
  port: int = 8000
  key: str = ''
  tls: ssl.SSLContext | None = None
  message_bytes: int = 32 * 2**20
  connections: int = 64
  largest: int = 8
  batch_seconds: float = 0.004
  room: int = 256
  seed: int = 0


@dataclasses.dataclass(eq=False)
class _Robot:
  """One connection, in seconds of `time.perf_counter`.

  Attributes:
    connection: to it.
    answered: when the model last answered it.
    pause: from the answer before until it asked again.
    total: that its last request took, until the reply was sent.
    here: whether it is still connected.
    told: the version that it was last told of.
  """

  connection: websockets_server.ServerConnection
  told: version_lib.Version
  answered: float | None = None
  pause: float | None = None
  total: float | None = None
  here: bool = True


class Server:
  """Answers robots by one version of a policy, which may be exchanged at any time.

  Args:
    version: to begin with, whose model is warm.
    settings: how to listen.
    log: takes a line of what happens.
  """

  def __init__(
    self,
    version: version_lib.Version,
    settings: Settings,
    log: Callable[[str], None] = lambda line: None,
  ):
    self.settings = settings
    self.telemetry = telemetry_lib.Telemetry()
    self._version = version
    self._log = log
    self._reading: set[object] = set()  # one for each message that is being read
    self._due: dict[_Robot, float] = {}  # when those that were answered should ask again
    self._open: set[websockets_server.ServerConnection] = set()
    self._busy: set[websockets_server.ServerConnection] = set()  # that wait for a reply
    self._ending = asyncio.Event()
    self._seeds = itertools.count(settings.seed)
    self._pool = futures.ThreadPoolExecutor(_THREADS, 'messages')
    self._batcher = batching.Batcher(
      largest=settings.largest,
      seconds=settings.batch_seconds,
      coming=self._coming,
      room=settings.room,
    )
    self.telemetry.step.set(version.model.step)

  @property
  def version(self) -> version_lib.Version:
    """That answers what comes now."""
    return self._version

  def exchange(self, version: version_lib.Version) -> None:
    """Has a newer version, whose model is warm, answer what comes from now on."""
    self._version = version
    self.telemetry.step.set(version.model.step)

  @contextlib.asynccontextmanager
  async def listening(self) -> AsyncIterator[int]:
    """Listens meanwhile; gives the port."""
    settings = self.settings
    quiet = logging.getLogger('websockets.server')
    quiet.setLevel(logging.CRITICAL)  # a broken handshake is counted, and is no news
    if settings.tls is not None:
      settings.tls.num_tickets = 0  # one that comes while a robot writes can hang its client
    listener = await websockets_server.serve(
      self._converse,
      settings.host,
      settings.port,
      ssl=settings.tls,
      compression=None,
      max_size=settings.message_bytes,
      max_queue=2,
      process_request=self._answer_http,
      server_header=None,
      open_timeout=10,
      ping_interval=_ALIVE[0],
      ping_timeout=_ALIVE[1],
      close_timeout=2,
      logger=quiet,
    )
    try:
      yield listener.sockets[0].getsockname()[1]
    finally:
      await self._finish(listener)

  async def _finish(self, listener: websockets_server.Server) -> None:
    """Lets nobody in any more, answers what was asked, and leaves."""
    self._ending.set()
    listener.close(close_connections=False)
    idle = [connection for connection in self._open if connection not in self._busy]
    leaving = [
      asyncio.create_task(connection.close(1001, 'the server ends')) for connection in idle
    ]
    with contextlib.suppress(TimeoutError):
      async with asyncio.timeout(_FINISHING):
        while self._open:
          await asyncio.sleep(0.01)
    for connection in self._open:
      connection.transport.abort()
    await asyncio.gather(*leaving, return_exceptions=True)
    await asyncio.to_thread(self._batcher.close)
    self._pool.shutdown()

  def _answer_http(
    self, connection: websockets_server.ServerConnection, request: Request
  ) -> Response | None:
    """Answers what is no websocket, and refuses who may not come in."""
    path = request.path.partition('?')[0]
    if path == '/healthz':
      return connection.respond(http.HTTPStatus.OK, 'OK\n')
    if not self._knows_key(request):
      self.telemetry.refused.labels('key').inc()
      return connection.respond(
        http.HTTPStatus.UNAUTHORIZED,
        'the API key is missing or wrong: Authorization: Api-Key ...\n',
      )
    if path == '/metrics':
      body = self.telemetry.text()
      headers = Headers(
        {'Content-Type': 'text/plain; version=0.0.4', 'Content-Length': str(len(body))}
      )
      return Response(200, 'OK', headers, body)
    if len(self._open) >= self.settings.connections:
      self.telemetry.refused.labels('full').inc()
      return connection.respond(
        http.HTTPStatus.SERVICE_UNAVAILABLE,
        f'{self.settings.connections} robots are connected already\n',
      )
    return None

  def _knows_key(self, request: Request) -> bool:
    if not self.settings.key:
      return True
    given = request.headers.get_all('Authorization')
    told = given[0] if len(given) == 1 else ''
    expected = f'Api-Key {self.settings.key}'
    return hmac.compare_digest(told.encode(errors='replace'), expected.encode())

  async def _converse(self, connection: websockets_server.ServerConnection) -> None:
    """One robot, until it leaves."""
    full = len(self._open) >= self.settings.connections
    if full or self._ending.is_set():  # since it began to shake hands
      await connection.close(1013, 'too many robots are connected, or the server ends')
      return
    robot = _Robot(connection, self._version)
    self._open.add(connection)
    self.telemetry.connections.set(len(self._open))
    try:
      await self._send(connection, robot.told.greeting)
      async for frame in connection:
        began = time.perf_counter()
        self._due.pop(robot, None)
        robot.pause = began - robot.answered if robot.answered else None
        self._busy.add(connection)
        await self._send(connection, await self._reply(robot, frame, began))
        self._busy.discard(connection)
        robot.total = time.perf_counter() - began
        self.telemetry.total.observe(robot.total)
        if self._ending.is_set():
          await connection.close(1001, 'the server ends')
    except (ConnectionClosed, TimeoutError):
      pass
    finally:
      robot.here = False
      self._due.pop(robot, None)
      self._busy.discard(connection)
      self._open.discard(connection)
      self.telemetry.connections.set(len(self._open))

  async def _send(self, connection: websockets_server.ServerConnection, frame: bytes | str) -> None:
    try:
      async with asyncio.timeout(_SENDING):
        await connection.send(frame)
    except TimeoutError:
      self._log(f'{connection.remote_address}: took no bytes for {_SENDING:.0f} s and was left.')
      connection.transport.abort()
      raise

  async def _reply(self, robot: _Robot, frame: bytes | str, began: float) -> bytes | str:
    """The reply to a frame: bytes, or a text that says what is wrong with it."""
    loop = asyncio.get_running_loop()
    try:
      if isinstance(frame, str):
        raise requests.RequestError(
          f'found a text of {len(frame)} characters, expected bytes of MessagePack.'
        )
      asked = self._version, robot, frame, began
      packed = await asyncio.wrap_future(await loop.run_in_executor(self._pool, self._ask, *asked))
    except (requests.RequestError, wire.WireError) as error:
      self.telemetry.requests.labels('wrong').inc()
      return _line(error)
    except batching.Busy as error:
      self.telemetry.requests.labels('busy').inc()
      return f'{error}'
    except version_lib.NotFiniteError as error:
      self.telemetry.requests.labels('not_finite').inc()
      self._log(f'A request failed: {error}')
      return f'{error}'
    except Exception as error:  # whatever it is, the robot is told and the server lives on
      self.telemetry.requests.labels('failed').inc()
      self._log(f'A request failed: {type(error).__name__}: {error}')
      return _FAULT
    self.telemetry.requests.labels('answered').inc()
    return packed

  def _ask(
    self, version: version_lib.Version, robot: _Robot, frame: bytes, began: float
  ) -> futures.Future[bytes]:
    """Has a message read and answered; the packed reply, which is made once there is an answer.

    Every change of threads takes a while on a busy machine, so that none goes by way of the loop.
    """
    reading, tag, row = self._read(version, frame)
    packed: futures.Future[bytes] = futures.Future()

    def pack(answered: futures.Future[batching.Answered]) -> None:
      try:
        answer, is_new = answered.result().answer, version is not robot.told
        reply = version.reply(reading, answer, tag, is_new=is_new)
        robot.told = version
        packed.set_result(self._pack(reply, answered.result(), began, robot.total))
      except Exception as error:  # whoever waits is told
        packed.set_exception(error)

    def go_on(answered: futures.Future[batching.Answered]) -> None:
      robot.answered = time.perf_counter()
      if robot.pause is not None:
        self._due[robot] = robot.answered + robot.pause
      if not robot.here:
        self._due.pop(robot, None)
      self._pool.submit(pack, answered)

    self._batcher.submit(version.model, row).add_done_callback(go_on)
    return packed

  def _read(
    self, version: version_lib.Version, frame: bytes
  ) -> tuple[model_lib.Reading, Any, model_lib.Row]:
    reading_of = object()
    self._reading.add(reading_of)
    try:
      reading, tag = version.reader.read(wire.unpack(frame))
      if reading.seed is None:
        reading = dataclasses.replace(reading, seed=next(self._seeds) % 2**32)
      try:
        return reading, tag, version.model.prepare(reading)
      except ValueError as error:  # the prompt is too long
        raise requests.RequestError(f'{error}') from error
    finally:
      self._reading.discard(reading_of)

  def _pack(
    self, reply: dict[str, Any], answered: batching.Answered, began: float, total: float | None
  ) -> bytes:
    self.telemetry.model.observe(answered.seconds)
    self.telemetry.batch.observe(answered.batch)
    if reply[requests.OPTIONS]['flags']:
      self.telemetry.flagged.inc()
    reply['policy_timing'] = {'infer_ms': 1e3 * answered.seconds}
    reply['server_timing'] = {'infer_ms': 1e3 * (time.perf_counter() - began)}
    if total is not None:
      reply['server_timing']['prev_total_ms'] = 1e3 * total
    return wire.pack(reply)

  def _coming(self, seconds: float) -> bool:
    """Whether a row is about to come: of a robot that asks as long after a reply as last time."""
    now = time.perf_counter()
    return bool(self._reading) or any(abs(due - now) < seconds for due in list(self._due.values()))


def _line(error: Exception) -> str:
  """What an error says, on one line whatever it quotes of a message."""
  return ' '.join(f'{error}'.split())[:_SENTENCE]
