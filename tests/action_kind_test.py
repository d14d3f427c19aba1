"""Positions or velocities: what a robot that holds is sent is told from the recording on."""

import command_line
import numpy as np
import pytest
import robot_clock
import scripted_server
import served

from aloe_client import wire
from aloe_jax import serve
from aloe_jax.data import index
from aloe_jax.serving import actions

NOBODY = scripted_server.metadata(action={'size': 3})


def told(meta, preset='aloe'):
  """The action that a server tells of a checkpoint that keeps this."""
  model = served.FakeModel()
  model.found.meta.update(meta)
  return wire.unpack(served.make_version(model, preset).greeting)['aloe']['action']


def test_a_hold_that_nobody_knows_is_told_before_anything_moves(tmp_path):
  known = ({'robot': robot_clock.ARM}, {'hold': lambda state: state})
  for server in (NOBODY, {}):
    for more in ({}, *known):
      recorder, clock, _ = robot_clock.recorder(tmp_path, told=server, **more)
      with recorder:
        told = [event.text for event in recorder.events.recent() if event.kind == 'hold']
        assert len(told) == (not more) and all(
          "kind='position')), or 'velocity'" in x for x in told
        )
        assert robot_clock.play(recorder, clock, 5)[-1].shape == (3,)


def test_what_the_recorder_knew_is_in_the_dataset(tmp_path, monkeypatch, capsys):
  recorder, clock, _ = robot_clock.recorder(tmp_path / 'in', told=NOBODY, robot=robot_clock.ARM)
  with recorder:
    robot_clock.play(recorder, clock, 5)
    recorder.end('success')
  given = ('import', '--from=recorder', tmp_path / 'in', '--to', tmp_path / 'out', '--name=a')
  status, _, errors = command_line.data(monkeypatch, capsys, *given)
  assert not status, errors
  assert index.load(tmp_path / 'out', {}).action_kinds == ('position',)


def test_the_server_tells_what_the_checkpoint_or_the_robot_says_and_guesses_nothing():
  assert told({'action_kind': 'velocity'})['kind'] == 'velocity'
  assert told({})['kind'] == '' and told({'action_kind': ''})['kind'] == ''
  assert told({}, 'simulator')['kind'] == 'velocity'
  with pytest.raises(ValueError, match='takes actions of the kind velocity, but .* position'):
    told({'action_kind': 'position'}, 'simulator')


def test_steps_are_not_limited_where_their_first_is_not_known(monkeypatch):
  limits = actions.Limits(step=np.ones(14, np.float32))
  with pytest.raises(ValueError, match='nobody tells whether actions are positions'):
    served.make_version(limits=limits)
  said = []
  monkeypatch.setattr(serve, '_say', said.append)
  serve._say_ready(served.make_version(), served.server_lib.Settings(), 1)
  assert said[0].startswith('Ready: ') and 'what a robot that holds is sent' in said[1]
