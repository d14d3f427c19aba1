"""A server that is started anew, or takes another checkpoint up, under a program that goes on."""

import contextlib
import json
import re
import time

import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import acting
from aloe_client import connection
from aloe_client import greeting

OBSERVATION = {'state': np.arange(3, dtype=np.float32), 'prompt': 'fold'}


def closing(times):
  """Replies, of which some close the connection."""
  numbers = iter(range(100))

  def reply(request):
    return scripted_server.CLOSE if next(numbers) in times else scripted_server.still(request)

  return reply


@pytest.mark.parametrize(
  'changed, said',
  [
    ({'action': {'size': 3, 'kind': 'velocity'}}, 'kind of action: velocity, was position'),
    (
      {'action': {'size': 3, 'names': ['elbow', 'waist', 'gripper'], 'unit': 'rad'}},
      "names of action: ['elbow', 'waist', 'gripper'], was ['waist', 'elbow', 'gripper']",
    ),
    ({'state': {'joints': {'size': 3}}}, "state: ['joints'], was ['state']"),
    ({'cameras': {'images/wrist': {'camera': 'left_wrist'}}}, "cameras: {'images/wrist': 'left_"),
    ({'control_hz': 5.0}, 'control_hz: 5.0, was 50.0'),
    ({'horizon': 3, 'execute': 2}, 'horizon: 3, was 10; execute: 2, was 5'),
    ({'values': False}, 'values is no longer offered'),
    ({'prompt_key': 'task'}, 'prompt_key: task, was prompt'),
  ],
)
def test_another_policy_of_the_same_width_is_refused(changed, said):
  first = scripted_server.metadata()
  assert said in '; '.join(greeting.changes(first, scripted_server.metadata(**changed)))
  assert greeting.changes(first, scripted_server.metadata(step=9, checkpoint='b')) == []
  assert (
    greeting.changes(first, {}) and greeting.changes({}, first) and not greeting.changes({}, {})
  )


def test_a_program_that_goes_on_plays_no_other_policy():
  told = scripted_server.metadata()
  with scripted_server.serving(closing({1}), told) as address:
    found = connection.Connection(address)
    with contextlib.closing(found):
      found.infer(OBSERVATION)
      with pytest.raises(connection.LostServerError):
        found.infer(OBSERVATION)
      told['aloe']['control_hz'] = 5.0
      with pytest.raises(connection.UnfitServerError, match='another policy than when this progra'):
        found.infer(OBSERVATION)
      assert found.metadata['aloe']['control_hz'] == 50
      told['aloe']['control_hz'] = 50.0
      assert found.infer(OBSERVATION)['actions'].shape == (10, 3)


def test_the_first_reply_after_a_reconnection_tells_what_the_greeting_said():
  told = scripted_server.metadata()
  with scripted_server.serving(closing({1}), told) as address:
    found = connection.Connection(address)
    with contextlib.closing(found):
      assert found.infer(OBSERVATION)['aloe']['q_threshold'] == -40
      with pytest.raises(connection.LostServerError):
        found.infer(OBSERVATION)
      told['aloe']['q_threshold'] = -100.0
      assert found.infer(OBSERVATION)['aloe']['q_threshold'] == -100
      assert 'q_threshold' not in found.infer(OBSERVATION)['aloe']


@pytest.mark.parametrize('told', [{}, None])
def test_a_message_that_nobody_asked_for_shifts_no_reply(told):
  def twice(request):
    answer = scripted_server.still(request) if told is None else {'actions': OBSERVATION['state']}
    answer['actions'] = np.tile(request['state'], (10, 1))
    sockets[-1].send(connection.wire.pack(answer))
    return answer

  sockets = []
  with pytest.MonkeyPatch.context() as patch:
    respond = scripted_server.server.ServerConnection.send
    patch.setattr(
      scripted_server.server.ServerConnection,
      'send',
      lambda self, data: sockets.append(self) or respond(self, data),
    )
    with scripted_server.serving(twice, told) as address:
      found = connection.Connection(address)
      with contextlib.closing(found):
        lost = 0
        for number in range(8):
          time.sleep(0.05)  # a tick of the robot
          try:
            reply = found.infer({**OBSERVATION, 'state': np.full(3, number, np.float32)})
          except connection.LostServerError as error:
            assert re.search('nobody asked for|another request', str(error))
            lost += 1
          else:
            np.testing.assert_array_equal(reply['actions'][0], number)
        assert lost >= 3


def test_a_server_of_ours_has_to_name_the_request():
  def nameless(request):
    answer = scripted_server.still(request)
    answer['aloe']['id'] = None
    return answer

  with scripted_server.serving(nameless) as address:
    found = connection.Connection(address)
    with (
      contextlib.closing(found),
      pytest.raises(connection.LostServerError, match='belongs to another request'),
    ):
      found.infer(OBSERVATION)


def test_what_is_known_of_a_checkpoint_holds_for_no_other_one():
  found = acting.Acting({'checkpoint': 'a', 'step': 3, 'q_threshold': -40.0, 'false_alarms': 0.1})
  assert found.add({'step': 3})['q_threshold'] == -40
  assert found.add({'step': 5})['q_threshold'] is None  # nothing was told of that one
  assert found.add({'step': 5, 'checkpoint': 'b', 'q_threshold': -9.0})['checkpoint'] == 'b'
  assert found.add({'q': 1.0}) == {
    'q': 1.0, 'checkpoint': 'b', 'step': 5, 'q_threshold': -9.0, 'false_alarms': None
  }  # fmt: skip
  assert found.add({'step': 5, 'checkpoint': 'c'})['q_threshold'] is None


def test_an_episode_names_the_checkpoint_that_acted_and_a_page_its_threshold(tmp_path):
  def reply(request, number):
    answer = scripted_server.still(request)
    answer['aloe']['q'] = -60.0
    if number >= 3:
      answer['aloe'] |= {'step': 9, 'checkpoint': 'runs/later'}
    if number == 3:  # told once
      answer['aloe'] |= {'q_threshold': -100.0, 'false_alarms': 0.2}
    return answer

  recorder, clock, _ = robot_clock.recorder(tmp_path, reply=reply, values=True)
  robot_clock.play(recorder, clock, 10)
  assert recorder.snapshot()['q_threshold'] == -40
  robot_clock.play(recorder, clock, 20)
  shown = recorder.snapshot()
  assert (shown['q_threshold'], shown['false_alarms']) == (-100, 0.2)
  assert (shown['checkpoint'], shown['checkpoint_step']) == ('runs/later', 9)
  assert recorder.metadata['aloe']['step'] == 9
  recorder.end('success')
  robot_clock.play(recorder, clock, 10)
  recorder.end('success')
  recorder.takeover(lambda observation: observation['state'])
  robot_clock.play(recorder, clock, 10)
  recorder.end('success')
  recorder.close()
  both, later, human = (
    json.loads(path.read_text()) for path in sorted(tmp_path.glob('0*/episode.json'))
  )
  assert (both['checkpoint'], both['checkpoint_step']) == ('runs/later', 9)
  assert [(c['checkpoint'], c['step']) for c in both['checkpoints']] == [
    ('runs/laundry', 6), ('runs/later', 9)
  ]  # fmt: skip
  assert sum(c['steps'] for c in both['checkpoints']) == both['steps'] - both['steps_held']
  assert [c['step'] for c in later['checkpoints']] == [9]
  assert human['checkpoint'] is None and human['checkpoint_step'] is None
  assert human['checkpoints'] == []
