"""Sends a policy server what no robot would, while a robot goes on asking 30 times a second.

  python tests/fuzz_server.py --frames=100000 --seed=0
  python tests/fuzz_server.py --frames=0 --connections=1000

Frames are seeded mutations of good requests, of their bytes and of their values; then raw bytes on
the socket, before and after the handshake. Connections are half-open ones, ones that never finish a
handshake, ones that take no bytes and idle ones, all at a time. The server is a process of its own
with a model that takes no time. It must answer every frame by a reply, an error of one line or the
end of the connection, answer the robot throughout, and grow by less than 50 MB.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import msgpack
import numpy as np
import served
from websockets.exceptions import ConnectionClosed
from websockets.exceptions import InvalidHandshake

from aloe_client import wire
from aloe_jax.serving import buffers

HANDSHAKE = (
  b'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
)
GROWTH = 50e6  # bytes
PATIENCE = 20.0  # seconds, until a frame counts as one that hangs
GOLDEN = pathlib.Path(__file__).parent / 'golden/pi05_io_golden.json'
ODD = (
  None, True, -1, 2**63, 2**64 - 1, 1e400, float('nan'), -0.0, '', 'a' * 5000, '\ud7ff\0', b'', [],
  [[]], [[1], [1, 2]], ['x' * 100] * 100, {}, {'a': {'a': {}}}, {b'__ndarray__': True},
  {b'__ndarray__': True, b'data': b'', b'dtype': '|O', b'shape': [0]},
  {b'nd': True, b'type': '<f4', b'kind': b'O', b'shape': [1], b'data': b'cos\nsystem\n'},
  {b'__npgeneric__': True, b'data': 'x', b'dtype': '<U1'}, msgpack.ExtType(5, b'pickle'),
  msgpack.Timestamp(1), [0] * 3000,
)  # fmt: skip
TYPES = ('<f4', '<f8', '<f2', '>f4', '|u1', '<i8', '|b1', '<U3', '|S4', '<M8[s]')


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--frames', type=int, default=100_000)
  parser.add_argument('--raw', type=int, default=500, help='connections of raw bytes')
  parser.add_argument('--connections', type=int, default=1000, help='at a time')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
  given = parser.parse_args(argv)
  if given.serve:
    return serve()
  _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
  with process() as server, Robot(server.port) as asking:
    if given.frames:
      send_frames(server, 500, f'{given.seed} before')  # what it takes once and for all
      server.begin()
      for part in range(4):  # what grows by the same in each is a leak
        told = send_frames(server, given.frames // 4, f'{given.seed} {part}')
        server.check(f'{given.frames // 4} frames: {told}', asking)
    send_raw(server, given.raw, given.seed)
    server.check(f'{given.raw} connections of raw bytes', asking)
    if given.connections:
      told = crowd(server, given.connections)
      server.check(f'{given.connections} connections at a time: {told}', asking)


def serve():
  """The server's process, until its standard input ends."""
  buffers.keep()
  with served.Served(served.make_version()) as server:
    print(server.port, flush=True)
    sys.stdin.read()


@dataclasses.dataclass
class Server:
  """A server's process, and the memory that it had when it was first looked at."""

  process: subprocess.Popen
  port: int
  before: int = 0

  def begin(self):
    self.before = self.memory

  @property
  def memory(self):
    pages = int(pathlib.Path(f'/proc/{self.process.pid}/statm').read_text().split()[1])
    return pages * resource.getpagesize()

  def check(self, what, robot):
    """Says how it stands, and ends the program where it does badly."""
    assert self.process.poll() is None, f'the server ended with {self.process.returncode}'
    self.before = self.before or self.memory
    growth = self.memory - self.before
    print(f'{what}; memory {self.memory / 1e6:.0f} MB, {growth / 1e6:+.1f}; {robot.told()}')
    assert growth < GROWTH, 'the server grew'


@contextlib.contextmanager
def process():
  """The server in a process of its own."""
  command = [sys.executable, __file__, '--serve']
  root = pathlib.Path(__file__).parents[1]
  paths = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH', '')]))
  with subprocess.Popen(
    command,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env=os.environ | {'PYTHONPATH': paths, 'JAX_PLATFORMS': 'cpu'},
  ) as started:
    port = int(started.stdout.readline())
    try:
      yield Server(started, port)
      started.stdin.close()
      assert started.wait(30) == 0, 'the server did not end well'
    finally:
      if started.poll() is None:
        started.send_signal(signal.SIGKILL)


class Robot:
  """Asks 30 times a second, on a thread; every reply must be what a good request is answered."""

  def __init__(self, port):
    self._client = served.Client(port)
    self._bytes = wire.pack(served.make_request(0.5, rows=64, columns=64))
    self._seconds, self._errors = [], []
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *error):
    self._ended.set()
    self._thread.join(PATIENCE)

  def _run(self):
    due = time.monotonic()
    while not self._ended.is_set():
      began = time.perf_counter()
      try:
        self._client.socket.send(self._bytes)
        reply = self._client.receive(PATIENCE)
        assert not isinstance(reply, str), reply
        assert (reply['actions'] == 1.5).all()
      except Exception as error:  # is told by whoever looks at this thread
        self._errors.append(error)
        return
      self._seconds.append(time.perf_counter() - began)
      due = max(due + 1 / 30, time.monotonic())
      time.sleep(max(0, due - time.monotonic()))

  def told(self):
    until = time.monotonic() + PATIENCE
    while not self._seconds and not self._errors and time.monotonic() < until:
      time.sleep(0.01)
    assert not self._errors, f'a good request was not answered: {self._errors[0]!r}'
    seconds, self._seconds = sorted(self._seconds), []
    assert seconds, 'no good request was answered'
    return (
      f'{len(seconds)} good requests were answered, median {1e3 * statistics.median(seconds):.1f} '
      f'ms, p99 {1e3 * seconds[int(0.99 * len(seconds))]:.0f} ms, max {1e3 * seconds[-1]:.0f} ms'
    )


def good_requests():
  """What mutations begin with: maps of every kind that a server is sent."""
  prefix = np.zeros((3, 14), np.float32)
  yield served.make_request(0.1)
  yield served.make_request(0.2, prompt='Fold', aloe={'seed': 3, 'id': 'x'})
  yield served.make_request(0.3, aloe={'prefix': prefix, 'delay': 2})
  recorded = json.loads(GOLDEN.read_text())
  yield wire.unpack(bytes.fromhex(recorded['msgpack_example_hex']))


def heavy(coin):
  """Few bytes that would become many objects, or long work."""
  many = 1_000_000
  return coin.choice(
    (
      b'\xdd' + many.to_bytes(4, 'big') + b'\x80' * many,
      b'\xdd' + many.to_bytes(4, 'big') + b'\x01' * many,
      b'\xdd\x00\x0f\x00\x00' * 1000,
      b'\xdc\x03\xe8' + (b'\xdc\x03\xe8' + b'\x90' * 1000) * 1000,
      wire.pack({'x' * many: 1}),
      wire.pack({'state': ['x' * many] + [''] * 3000, 'images': {}}),
      wire.pack({'state': 'x' * many, 'prompt': 'y' * many}),
    )
  )


def mutated(coin, requests):
  """Bytes of a request with something wrong with it, mostly."""
  if coin.random() < 0.002:
    return heavy(coin)
  request = coin.choice(requests)
  if coin.random() < 0.5:
    request = changed(coin, request)
  try:
    data = bytearray(msgpack.packb(request, default=wire._encode))
  except (ValueError, TypeError, OverflowError):
    data = bytearray(wire.pack(coin.choice(requests)))
  if coin.random() < 0.6:
    for _ in range(coin.choice((1, 1, 2, 5, 30))):
      spoil(coin, data)
  return bytes(data)


def changed(coin, value):
  """A copy of a value of which one thing inside is another."""
  if isinstance(value, dict) and value and coin.random() < 0.85:
    copy = dict(value)
    key = coin.choice(list(copy))
    what = coin.random()
    if what < 0.1:
      del copy[key]
    elif what < 0.2:
      copy[coin.choice(('stat', key * 2, 'x' * 9000, '', 'aloe'))] = copy.pop(key)
    elif what < 0.3:
      copy[coin.choice(('extra', 'images', b'nd', b'__ndarray__'))] = coin.choice(ODD)
    else:
      copy[key] = changed(coin, copy[key])
    return copy
  if isinstance(value, np.ndarray) and value.size and coin.random() < 0.6:
    return changed_array(coin, value)
  if coin.random() < 0.05:
    return nested(coin.choice((3, 100, 500)))
  return coin.choice(ODD)


def changed_array(coin, value):
  """Another shape, another type, or a number in it that is none."""
  what = coin.random()
  if what < 0.3:
    return np.zeros(value.shape, coin.choice(TYPES))
  if what < 0.6:
    return np.zeros([coin.choice((0, 1, 3, 14, 40)) for _ in range(coin.randrange(5))], 'u1')
  copy = np.zeros((*value.shape, 1), np.float32)[..., 0]
  copy.flat[coin.randrange(copy.size)] = coin.choice((np.nan, np.inf, -1e38, 1e9))
  return copy


def nested(depth):
  found = {}
  for _ in range(depth):
    found = {'a': found}
  return found


def spoil(coin, data):
  """Changes a few bytes in place."""
  place = coin.randrange(len(data) + 1)
  what = coin.random()
  if what < 0.4 and place < len(data):
    data[place] = coin.randrange(256)
  elif what < 0.5:
    del data[place:]
  elif what < 0.6:
    del data[place : place + coin.randrange(1, 9)]
  elif what < 0.75:  # lengths that nothing follows
    data[place:place] = bytes([coin.choice((0xC6, 0xDB, 0xDD, 0xDF, 0xC9))]) + b'\x7f\xff\xff\xff'
  elif what < 0.9:
    data[place:place] = bytes(coin.randrange(256) for _ in range(coin.randrange(1, 20)))
  else:
    data[place:place] = bytes([coin.choice((0x80, 0x81, 0x90, 0x91))]) * coin.choice((10, 2000))


def send_frames(server, count, seed):
  """Sends mutated frames, each after the reply to the one before; how they were answered."""
  coin, requests = random.Random(seed), list(good_requests())
  outcomes = dict.fromkeys(('replies', 'errors', 'closed'), 0)
  client = served.Client(server.port)
  for number in range(count):
    data = mutated(coin, requests)
    try:
      client.socket.send(data if coin.random() < 0.98 else data.decode('latin-1'))
      reply = client.receive(PATIENCE)
    except ConnectionClosed:
      outcomes['closed'] += 1
      client = served.Client(server.port)
      continue
    except TimeoutError:
      raise AssertionError(f'frame {number} of seed {seed} was not answered') from None
    outcomes['errors' if isinstance(reply, str) else 'replies'] += 1
    if isinstance(reply, str):
      assert '\n' not in reply and 'Traceback' not in reply and len(reply) < 1000, reply
      assert 'could not answer' not in reply, f'frame {number} of seed {seed}: a fault'
  client.close()
  return ', '.join(f'{count} {name}' for name, count in outcomes.items())


def send_raw(server, count, seed):
  """Bytes that are no HTTP, and after a good handshake such as are no frames."""
  coin = random.Random(seed)
  for number in range(count):
    with socket.create_connection(('127.0.0.1', server.port), PATIENCE) as raw:
      noise = bytes(coin.randrange(256) for _ in range(coin.choice((1, 14, 500))))
      if number % 2:
        raw.sendall(HANDSHAKE)
        assert raw.recv(4096).startswith(b'HTTP/1.1 101'), 'a good handshake was refused'
        if coin.random() < 0.5:  # a frame that says it is 2**63 - 1 bytes long
          noise = b'\x82\xff\x7f' + b'\xff' * 7 + noise
        raw.sendall(noise)
      else:
        raw.sendall(coin.choice((noise, HANDSHAKE[: coin.randrange(len(HANDSHAKE))] + noise)))
      if coin.random() < 0.3:
        raw.shutdown(socket.SHUT_WR)


def crowd(server, count):
  """Connections that do nothing good, all at a time, and after them a good one."""
  outcomes = dict.fromkeys(('half-open', 'half a handshake', 'deaf', 'idle', 'refused'), 0)
  request = wire.pack(served.make_request(aloe={'seed': 1}))
  with contextlib.ExitStack() as held:
    for number in range(count):
      if number % 4 < 2:
        raw = held.enter_context(socket.create_connection(('127.0.0.1', server.port), PATIENCE))
        kind = ('half-open', 'half a handshake')[number % 4]
        raw.sendall(HANDSHAKE[: 60 * (number % 4)])
      else:
        kind = ('deaf', 'idle')[number % 4 - 2]
        try:
          client = held.enter_context(served.Client(server.port))
          for _ in range(10 if kind == 'deaf' else 0):
            client.socket.send(request)  # whose replies nobody takes
        except (InvalidHandshake, ConnectionClosed):
          kind = 'refused'
      outcomes[kind] += 1
    time.sleep(3)
  until = time.monotonic() + PATIENCE
  while time.monotonic() < until:
    with contextlib.suppress(InvalidHandshake), served.Client(server.port) as client:
      assert not isinstance(client.ask(), str)
      return ', '.join(f'{count} {name}' for name, count in outcomes.items())
  raise AssertionError('after them nobody is let in')


if __name__ == '__main__':
  main()
