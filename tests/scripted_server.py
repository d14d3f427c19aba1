"""A policy server of openpi's protocol whose answers a test scripts."""

import contextlib
import http
import threading

import numpy as np
from websockets import exceptions
from websockets.sync import server

from aloe_client import wire

WIDTH = 3
CLOSE = 'close'
NAMES = ['waist', 'elbow', 'gripper']


def metadata(**changed):
  """What our server says of a policy of three joints and one camera."""
  part = {'size': WIDTH, 'names': NAMES, 'unit': 'rad', 'kind': 'position'}
  told = {
    'version': 1,
    'checkpoint': 'runs/laundry',
    'step': 6,
    'prompt': 'fold',
    'prompt_key': 'prompt',
    'cameras': {'images/head': {'shape': [8, 8, 3], 'camera': 'head'}},
    'state': {'state': part},
    'action': part,
    'horizon': 10,
    'execute': 5,
    'control_hz': 50.0,
    'values': True,
    'real_time': True,
    'q_threshold': -40.0,
    'false_alarms': 0.05,
  }
  return {'aloe': told | changed}


def still(request):
  """The reply that keeps a robot where its state is."""
  told = {'checkpoint': 'runs/laundry', 'step': 6, 'clipped': False, 'flags': []}
  told['id'] = request.get('aloe', {}).get('id')
  if request.get('aloe', {}).get('values'):
    told |= {'q': -50.0, 'v': -45.0, 'spread': 1.5}
  return {'actions': np.tile(request['state'], (10, 1)).astype(np.float32), 'aloe': told}


def _named(answer, request):
  """An answer that names its request, as every server of ours does, unless it says otherwise."""
  tag = request.get('aloe', {}).get('id')
  if tag is None or not isinstance(answer, dict) or not isinstance(answer.get('aloe', {}), dict):
    return answer
  return {**answer, 'aloe': {'id': tag, **answer.get('aloe', {})}}


@contextlib.contextmanager
def serving(reply=still, told=None, *, key=None, ssl=None, port=0):
  """The address of a server.

  Args:
    reply: the answer to a request: a map, a text, bytes, None to stay silent, or `CLOSE`.
    told: its first frame, a map, a text or bytes.
    key: that it asks for.
    ssl: of the server.
    port: to listen at; 0 for one that is free.
  """
  done = threading.Event()

  def check(connection, request):
    if key is not None and request.headers.get('Authorization') != f'Api-Key {key}':
      return connection.respond(http.HTTPStatus.UNAUTHORIZED, 'no\n')
    return None

  def handle(connection):
    first = metadata() if told is None else told
    connection.send(wire.pack(first) if isinstance(first, dict) else first)
    with contextlib.suppress(exceptions.ConnectionClosed):
      for data in connection:
        request = wire.unpack(data)
        answer = _named(reply(request), request)
        if answer == CLOSE:
          return
        if answer is None:
          done.wait()
          return
        connection.send(wire.pack(answer) if isinstance(answer, dict) else answer)

  options = {'compression': None, 'max_size': None, 'close_timeout': 0.1}
  with server.serve(
    handle, '127.0.0.1', port, ssl=ssl, process_request=check, **options
  ) as running:
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
      yield f'{"wss" if ssl else "ws"}://127.0.0.1:{running.socket.getsockname()[1]}'
    finally:
      done.set()
      running.shutdown()
      thread.join()
