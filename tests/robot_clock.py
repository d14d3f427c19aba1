"""A robot's loop in made-up time: a clock that a test moves, and a server that takes ticks."""

import numpy as np
import scripted_server

from aloe_client import asker
from aloe_client import events
from aloe_client import executor
from aloe_client import motion
from aloe_client import recorder as recorder_lib
from aloe_client import robot as robot_lib


class Clock:
  """`time`, as far as a robot's loop uses it; sleeping moves it."""

  def __init__(self):
    self.now = 100.0

  def monotonic(self):
    return self.now

  def time(self):
    return 1.7e9 + self.now

  def sleep(self, seconds):
    self.now += seconds


class Asks:
  """A server that needs `delays[n]` seconds for request n; the last delay goes on for ever.

  `reply(request, number)` is the answer; an exception that it returns is the server's.
  """

  def __init__(self, clock, delays, reply, told=None):
    self._told = told or {}
    self._clock, self._delays, self._reply = clock, list(delays), reply
    self._flying = None
    self.requests = []

  def open(self):
    return self._told

  def close(self):
    pass

  @property
  def ready(self):
    return self._flying is None

  def send(self, token, request):
    assert self._flying is None, 'two requests in flight'
    number = len(self.requests)
    delay = self._delays[min(number, len(self._delays) - 1)]
    self.requests.append(request)
    self._flying = (self._clock.now + delay, delay, token, self._reply(request, number))

  def take(self):
    if self._flying is None or self._clock.now < self._flying[0] - 1e-9:
      return None
    _, delay, token, reply = self._flying
    self._flying = None
    if isinstance(reply, Exception):
      return asker.Answer(token, None, reply, delay)
    return asker.Answer(token, reply, None, delay)


def counting(horizon, width=2):
  """Replies whose action k is `t + k`, of the observation's own `t`: what ran tells what it was."""

  def reply(request, number):
    del number
    steps = request['state'][0] + np.arange(horizon, dtype=np.float32)
    return {'actions': np.repeat(steps[:, None], width, axis=1)}

  return reply


class Loop:
  """An executor at `hz` ticks a second; the state counts the actions that were executed."""

  def __init__(self, delays, *, horizon=50, execute=25, hz=30, reply=None, limits=None, **options):
    self.clock, self.hz, self.count = Clock(), hz, 0
    self.asks = Asks(self.clock, delays, reply or counting(horizon))
    self.events = events.Events(self.clock)
    self.plans = []
    self.executor = executor.Executor(
      self.asks,
      hz=hz,
      execute=execute,
      limits=motion.Limits(2, **limits) if limits else None,
      on_plan=self.plans.append,
      events=self.events,
      clock=self.clock,
      **options,
    )

  def run(self, ticks):
    """[ticks] commands."""
    found = []
    for _ in range(ticks):
      state = np.full(2, self.count, np.float32)
      command = self.executor.tick({'state': state}, state, self.count)
      self.count += not command.held
      found.append(command)
      self.clock.now += 1 / self.hz
    return found

  def kinds(self):
    return [event.kind for event in self.events.recent()]


ARM = robot_lib.Robot(action=robot_lib.Part(scripted_server.WIDTH, kind='position'))


def recorder(directory, *, delays=(0.02,), told=None, reply=None, **options):
  """A `Recorder` of the scripted server's policy in made-up time, its clock and its server."""
  clock = Clock()
  told = scripted_server.metadata() if told is None else told
  asks = Asks(clock, delays, reply or (lambda request, n: scripted_server.still(request)), told)
  options = {'images': 'raw', **options}
  return (
    recorder_lib.Recorder(asks, 'fold the t-shirt', directory, clock=clock, **options),
    clock,
    asks,
  )


def observation(step, **more):
  """[3] joints and an image that tell the step."""
  image = np.full((8, 8, 3), step % 251, np.uint8)
  return {'state': np.full(3, step / 100, np.float32), 'images': {'head': image}, **more}


def play(recorder, clock, steps, *, start=0, hz=50):
  """Runs the loop for some ticks; what was sent in each."""
  found = []
  for step in range(start, start + steps):
    found.append(recorder.infer(observation(step)))
    clock.now += 1 / hz
  return found
