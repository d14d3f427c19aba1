"""Robots that ask a policy server, in a process of their own; see `serve`.

Reads a line of JSON for each measurement and prints one with what it found.
"""

import json
import sys
import threading
import time

import numpy as np
from websockets.sync import client

from aloe_client import wire
from aloe_jax.serving import buffers


def main() -> None:
  """Answers lines until there are no more."""
  buffers.keep()  # what is measured is the server, and not how this process gets its memory
  for line in sys.stdin:
    print(json.dumps(measure(**json.loads(line))), flush=True)


def measure(
  port: int, robots: int, rate: float, requests: int, rows: int, columns: int
) -> dict[str, list[float]]:
  """Asks as often as told.

  Args:
    port: of the server, on this machine.
    robots: that ask at the same time, each on a connection and a thread.
    rate: requests a second of each; 0 for the next one as soon as there is a reply.
    requests: of each.
    rows, columns: of the images.

  Returns:
    Seconds of every request from before it is packed until its reply is read (`seconds`), those
    that the server says the model took (`model`), and how late each reply was after the request
    was due (`late`).
  """
  found: dict[str, list[float]] = {'seconds': [], 'model': [], 'late': []}
  ready = threading.Barrier(robots)

  def ask(number: int) -> None:
    with client.connect(f'ws://127.0.0.1:{port}', compression=None, max_size=None) as socket:
      request = _request(wire.unpack(socket.recv())['aloe'], rows, columns)
      _once(socket, request)
      ready.wait()
      due = time.perf_counter() + (number / robots / rate if rate else 0)
      for _ in range(requests):
        time.sleep(max(0.0, due - time.perf_counter()))
        due = due if rate else time.perf_counter()
        began = time.perf_counter()
        reply = _once(socket, request)
        ended = time.perf_counter()
        found['seconds'].append(ended - began)
        found['late'].append(ended - due)
        found['model'].append(reply['policy_timing']['infer_ms'] / 1e3)
        due = max(due + 1 / rate, ended) if rate else 0.0

  threads = [threading.Thread(target=ask, args=(i,)) for i in range(robots)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return found


def _request(told: dict, rows: int, columns: int) -> dict:
  rng = np.random.default_rng(0)
  images = {key: rng.integers(0, 256, (rows, columns, 3), np.uint8) for key in told['cameras']}
  state = {key: np.zeros(about['size'], np.float32) for key, about in told['state'].items()}
  return images | state | {'prompt': told['prompt'], 'aloe': {'seed': 0}}


def _once(socket: client.ClientConnection, request: dict) -> dict:
  socket.send(wire.pack(request))
  reply = socket.recv()
  if isinstance(reply, str):
    raise SystemExit(f'error: the server does not answer: {reply}')
  return wire.unpack(reply)


if __name__ == '__main__':
  main()
