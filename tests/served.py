"""A policy server on a thread of its own, over real sockets, and models that take no time.

Tests, `fuzz_server.py` and `benchmarks/serve.py` talk to it as a robot does.
"""

import asyncio
import contextlib
import threading
import time
import types

import numpy as np
import robot
from websockets.sync import client

from aloe_client import wire
from aloe_jax import types as aloe_types
from aloe_jax.data import rlds
from aloe_jax.run import experiment
from aloe_jax.serving import actions
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import robots
from aloe_jax.serving import server as server_lib
from aloe_jax.serving import version as version_lib


class FakeModel:
  """A model whose answer is the state that it was asked with, plus `step`, in every action.

  Args:
    step: of its checkpoint.
    seconds: that an answer takes.
    scale: that its statistics reach to.
    horizon: of its chunks.
    cameras: that it reads.
  """

  real_time, has_values, sizes, programs = True, False, [1], None

  def __init__(self, step=1, seconds=0.0, scale=50.0, horizon=4, cameras=aloe_types.CAMERAS):
    self.name, self.step, self.seconds = f'checkpoints/{step}', step, seconds
    self.batches, self.fault = [], None
    config = robot.make_config(task__chunk=horizon)
    config.task.cameras = cameras
    self.experiment = types.SimpleNamespace(config=config, reads_images=True, encoder=None)
    stats = robot.make_stats(scale=scale)
    self.found = types.SimpleNamespace(meta={'phase': 'actor', 'norm_stats': scale})
    self.policy = types.SimpleNamespace(
      inputs=experiment.Experiment(config).inputs(stats), prompt='Fold the t-shirt', samples=1
    )
    self.chunk_shape = (horizon, robot.SIZE)

  def warm(self, told):
    told(1)

  def prepare(self, reading):
    return types.SimpleNamespace(reading=reading)

  def answer(self, rows):
    if self.fault:
      raise self.fault
    self.batches.append(len(rows))
    time.sleep(self.seconds)
    return [
      model_lib.Answer(
        np.tile(row.reading.state + self.step, (self.chunk_shape[0], 1)).astype(np.float32)
      )
      for row in rows
    ]


def wait_for(happens):
  """Returns once it is so; fails after a minute."""
  end = time.monotonic() + 60
  while not happens():
    assert time.monotonic() < end, 'not in time'
    time.sleep(0.005)


def make_version(model=None, preset='aloe', limits=None, **changes):
  """A version of a fake model, or of a given one."""
  model = model or FakeModel(**changes)
  return version_lib.make(model, robots.PRESETS[preset], limits or actions.Limits())


class Served:
  """A server that listens on a thread until it is stopped."""

  def __init__(self, version, **settings):
    self.said = []
    self._settings = {'port': 0} | settings
    self._version, self._ended = version, threading.Event()
    self._started = threading.Event()
    self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))

  async def _listen(self):
    settings = server_lib.Settings(**self._settings)
    self.server = server_lib.Server(self._version, settings, self.said.append)
    self._stop = asyncio.Event()
    self._loop = asyncio.get_running_loop()
    try:
      async with self.server.listening() as self.port:
        self._started.set()
        await self._stop.wait()
    finally:
      self._started.set()

  def __enter__(self):
    self._thread.start()
    assert self._started.wait(20)
    return self

  def __exit__(self, *error):
    self.stop()
    self._thread.join(30)
    assert not self._thread.is_alive(), 'the server did not end'

  def stop(self):
    self._loop.call_soon_threadsafe(self._stop.set)

  def connect(self, **options):
    return Client(self.port, **options)


class Client(contextlib.AbstractContextManager):
  """A robot's end of a connection: openpi's, but for what it does with errors.

  Attributes:
    frame: the first one, as it came.
    metadata: what it tells.
  """

  def __init__(self, port, scheme='ws', **options):
    options = {'compression': None, 'max_size': None, 'open_timeout': 20} | options
    self._context = client.connect(f'{scheme}://127.0.0.1:{port}', **options)
    self.socket = self._context.__enter__()
    self.frame = self.socket.recv(20)
    self.metadata = wire.unpack(self.frame)

  def __exit__(self, *error):
    self.close()

  def close(self):
    self._context.__exit__(None, None, None)

  def ask(self, request=None, seconds=60.0):
    """The reply to a request: a map, or the text of an error."""
    self.socket.send(wire.pack(make_request() if request is None else request))
    return self.receive(seconds)

  def receive(self, seconds=60.0):
    found = self.socket.recv(seconds)
    return found if isinstance(found, str) else wire.unpack(found)


def make_images(rows=8, columns=8, seed=0):
  rng = np.random.default_rng(seed)
  return {
    camera: rng.integers(0, 256, (rows, columns, 3), np.uint8) for camera in rlds.CAMERA_FIELDS
  }


def make_request(value=0.0, rows=8, columns=8, **others):
  """Of our preset: images and a state of one value."""
  state = np.full(robot.SIZE, value, np.float32)
  return {'images': make_images(rows, columns), 'state': state} | others
