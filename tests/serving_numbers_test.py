"""Robots that ask together: each gets what it gets alone, at once, and is told the true time."""

import contextlib
import dataclasses
import threading
import time

import finished_runs
import jax
import numpy as np
import pytest
import robot
import served
import tiny

from aloe_client import wire
from aloe_jax import config as config_lib
from aloe_jax.run import checkpoints
from aloe_jax.serving import loading

CLOSE = 1e-4  # networks of this size, in batches of other sizes
PROMPTS = ['Fold the t-shirt', *(f'put thing {word} away' for word in 'abcdefg')]


SMALL = dict(
  actor__kind='small',
  actor__augment=False,
  actor__vocab_size=256,
  data__normalization='none',
  sim__observation='pixels',
  actor__small__tower__channels=(4,),
  sim__image_size=16,
  task__delta=(),
)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A checkpoint of the smallest policy that reads images and prompts."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  finished_runs.write(workdir, number=1, **SMALL)
  return workdir / 'checkpoints' / '1'


def load(path, **changes):
  """Its model, for one row and for eight, without the values: each program takes seconds."""
  config = config_lib.from_json(checkpoints.read_meta(path)['config'], str(path))
  config.actor.update(changes)
  model = loading.of_run(config, path, largest=8, real_time=False)
  model.sizes, model.has_values = [1, 8], False
  return model


@pytest.fixture(scope='module')
def model(path, quick_compilation):
  model = load(path)
  model.warm()
  return model


@pytest.fixture(scope='module')
def server(model):
  with served.Served(served.make_version(model), batch_seconds=0.3) as found:
    yield found


@pytest.fixture
def compiled():
  """Names of what is compiled meanwhile."""
  found, over = [], []

  def hear(name, seconds, **about):
    if 'backend_compile' in name and not over:
      found.append(name)

  jax.monitoring.register_event_duration_secs_listener(hear)
  yield found
  over.append(True)


def request(number, **asked):
  """Of one of eight robots."""
  rng = np.random.default_rng(number)
  return served.make_request(
    state=tiny.normal(rng, robot.SIZE),
    images=served.make_images(16, 16, seed=number),
    prompt=PROMPTS[number],
    aloe={'seed': number} | asked,
  )


def together(server, requests):
  """Replies to requests that as many robots send at once."""
  replies, ready = [None] * len(requests), threading.Barrier(len(requests))

  def ask(i):
    with server.connect() as client:
      client.ask(requests[i])  # from now on it is one of those that ask
      ready.wait()
      replies[i] = client.ask(requests[i])

  threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(requests))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return replies


def rows_beside_four(server):
  """Rows that were answered with four others or more, by the server's own count."""
  text = server.server.telemetry.text().decode()
  counts = [line for line in text.splitlines() if line.startswith('aloe_batch_rows_bucket')]
  by_size = {line.split('"')[1]: float(line.split()[-1]) for line in counts}
  return by_size['8.0'] - by_size['4.0']


def test_eight_robots_with_eight_prompts_get_what_each_gets_alone(server, model, monkeypatch):
  with server.connect() as client:
    alone = [client.ask(request(i))['actions'] for i in range(8)]
    swapped = client.ask(request(0) | {'prompt': PROMPTS[1]})['actions']
  assert np.abs(swapped - alone[0]).max() > 10 * CLOSE  # prompts are read
  before, busy, opened, answer = rows_beside_four(server), [], threading.Event(), model.answer

  def held(rows):
    busy.append(len(rows))
    assert opened.wait(60)
    return answer(rows)

  monkeypatch.setattr(model, 'answer', held)
  with contextlib.ExitStack() as stack:
    ninth, *eight = [stack.enter_context(server.connect()) for _ in range(9)]
    ninth.socket.send(wire.pack(request(0)))
    served.wait_for(lambda: busy == [1])
    for i in range(8):  # these ask while the ninth is answered
      eight[i].socket.send(wire.pack(request(i)))
    served.wait_for(lambda: server.server._batcher.waiting == 8)
    opened.set()
    ninth.receive()
    replies = [client.receive() for client in eight]
  for reply, expected in zip(replies, alone, strict=True):
    np.testing.assert_allclose(reply['actions'], expected, atol=CLOSE)
  assert busy == [1, 8]
  assert rows_beside_four(server) == before + 8


def test_nothing_compiles_once_it_is_ready(server, compiled):
  together(server, [request(i) for i in range(8)])
  together(server, [request(i) for i in range(3)])
  with server.connect() as client:
    larger = request(7) | {'images': served.make_images(480, 640)}
    assert not isinstance(client.ask(larger), str)
  assert not compiled
  jax.jit(lambda x: x + 1)(np.zeros(3))
  assert compiled  # it would have been heard


def test_a_newer_checkpoint_of_the_run_compiles_nothing_anew(path, model, compiled):
  finished_runs.write(path.parents[1], number=2, **SMALL)
  newer = load(path.with_name('2'))
  assert newer.take_over(model.programs)
  compiled.clear()
  newer.warm()
  assert not compiled
  reading = served.make_version(model).reader.read(request(1))[0]
  old, new = (m.answer([m.prepare(reading)])[0].actions for m in (model, newer))
  assert np.abs(old - new).max() > 10 * CLOSE  # with its own parameters


def test_a_checkpoint_that_is_read_otherwise_takes_no_programs_over(path, model):
  assert not load(path, flow_steps=7).take_over(model.programs)


def test_the_time_told_is_that_until_the_device_is_done(server, model, monkeypatch):
  shape = jax.ShapeDtypeStruct((1, *model.chunk_shape), np.float32)

  def slow(*_):
    time.sleep(0.2)
    return np.zeros(shape.shape, np.float32)

  act = jax.jit(lambda numbers, *seen: jax.pure_callback(slow, shape, seen[2]))
  monkeypatch.setattr(model, 'programs', dataclasses.replace(model.programs, act=act))
  with server.connect() as client:
    client.ask(request(0))
    reply = client.ask(request(0))
  assert reply['policy_timing']['infer_ms'] >= 190
  assert reply['server_timing']['infer_ms'] >= reply['policy_timing']['infer_ms']
