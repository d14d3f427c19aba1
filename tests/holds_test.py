"""Steps at which the robot held: they are counted, the critic learns from them, no actor does."""

import dataclasses

import command_line
import numpy as np
import pytest
import robot_clock
import scripted_server
import tiny

from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.data import holds
from aloe_jax.data import index
from aloe_jax.data import replay
from aloe_jax.run import imitated

NONE, SUCCESS = types.EndReason.NONE, types.EndReason.SUCCESS


def test_held_steps_of_a_dead_server_are_counted_by_import_and_validate(
  tmp_path, monkeypatch, capsys
):
  def until_it_dies(request, number):
    return scripted_server.still(request) if number < 3 else ConnectionError('gone')

  recorder, clock, _ = robot_clock.recorder(tmp_path / 'in', reply=until_it_dies)
  with recorder:
    robot_clock.play(recorder, clock, 60)
    recorder.end('success')
  source, to = tmp_path / 'in', tmp_path / 'out'
  given = ('import', '--from=recorder', source, '--to', to, '--name=a')
  status, printed, errors = command_line.data(monkeypatch, capsys, *given)
  assert not status, errors
  found = index.load(to, {})
  first = int(np.argmax(found.held))
  assert 5 < first < 30 and found.held[first:].all() and not found.held[:first].any()
  told = f'The robot held at {found.held.sum()} of {len(found)} steps: the critic learns from them'
  assert told in ' '.join(printed.split())
  _, printed, _ = command_line.data(monkeypatch, capsys, 'validate', to)
  assert told in ' '.join(printed.split())


def test_no_chunk_with_a_held_step_is_imitated_and_the_critic_reads_all():
  rng = np.random.default_rng(0)
  episode = tiny.make_episode(rng, [NONE] * 19 + [SUCCESS], types.Source.POLICY)
  held = np.isin(np.arange(20), (8, 9, 15))
  holding = dataclasses.replace(episode, metadata=holds.told(held))
  chunking = replay.Chunking(tiny.HORIZON, 2, 0.9, 6.0)
  buffers = [
    replay.Replay(tiny.make_steps([one]), tiny.INPUTS, chunking) for one in (episode, holding)
  ]
  np.testing.assert_array_equal(buffers[0].starts, buffers[1].starts)
  agent = AGENTS['aloe']
  every, some = (imitated.rows(agent, buffer, 1) for buffer in buffers)
  expected = [t for t in every if not held[t : t + tiny.HORIZON].any()]
  assert len(expected) < len(every)
  np.testing.assert_array_equal(some, expected)
  wholly = dataclasses.replace(episode, metadata=holds.told(np.ones(20, bool)))
  buffer = replay.Replay(tiny.make_steps([wholly]), tiny.INPUTS, chunking)
  with pytest.raises(ValueError, match=f'has: {len(buffer.starts)} in which the robot held;'):
    imitated.rows(agent, buffer, 1)


def test_the_steps_are_kept_as_they_were():
  rng = np.random.default_rng(0)
  for length in (1, 5, 40):
    for share in (0, 0.3, 1):
      held = rng.random(length) < share
      np.testing.assert_array_equal(holds.read(holds.told(held), length), held)
