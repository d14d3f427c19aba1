"""What a server says that no robot can use: refused in a sentence, and nothing of it is played."""

import contextlib

import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import connection
from aloe_client import recorder as recorder_lib
from aloe_client import robot as robot_lib
from aloe_client import told as told_lib


def play(directory, change, ticks=30):
  """What was sent where `change` makes another reply of a good one, and the loud events."""

  def reply(request, number):
    del number
    good = scripted_server.still(request)
    return {**good, **change(good)}

  recorder, clock, _ = robot_clock.recorder(directory, reply=reply, values=True)
  with recorder:
    sent = robot_clock.play(recorder, clock, ticks)
    recorder.snapshot()
    return sent, [event.text for event in recorder.events.recent() if event.kind == 'server']


def about(**changed):
  return lambda good: {'aloe': {**good['aloe'], **changed}}


@pytest.mark.parametrize(
  'change, said',
  [
    (lambda good: {'actions': np.full((10, 3), 1e300)}, 'hold NaN or infinity'),
    (lambda good: {'actions': np.full((10, 3), 10**30)}, 'found object'),
    (lambda good: {'actions': np.zeros((10, 4))}, '4 numbers, this robot takes 3'),
    (lambda good: {'actions': [[0, 1, 2], [3]]}, 'expected numbers [h, A]'),
    (lambda good: {'aloe': 'x'}, "aloe: found 'x', expected a map"),
    (about(q='x'), "q: found 'x', expected a finite number"),
    (about(v=np.zeros(3)), 'v: found an array [3], expected a finite number'),
    (about(spread=float('nan')), 'spread: found nan, expected a finite number'),
    (about(flags=5), 'flags: found 5, expected a list of texts'),
    (about(flags=[{'a': 1}]), "flags: found [{'a': 1}], expected a list of texts"),
    (about(clipped=[1]), 'clipped: found [1], expected true or false'),
    (about(step={'a': 1}), "step: found {'a': 1}, expected a whole number from 0"),
    (about(checkpoint=b'x'), "checkpoint: found b'x', expected a text"),
  ],
)
def test_a_reply_of_no_use_is_told_once_and_nothing_of_it_is_sent(change, said, tmp_path):
  sent, told = play(tmp_path, change)
  assert sent == [None] * 30
  assert len(told) == 1 and said in told[0]


def test_a_reply_of_no_use_is_refused_by_the_connection_too():
  reply = {'actions': np.full((10, 3), 1e300)}
  wide = {'actions': np.zeros((10, 4))}
  answers = iter((reply, wide, {**reply, 'actions': np.zeros((10, 3)), 'aloe': 5}))
  with scripted_server.serving(lambda request: next(answers)) as address:
    found = connection.Connection(address)
    for said in ('hold NaN or infinity', '4 numbers, this robot takes 3', 'aloe: found 5'):
      with pytest.raises(connection.UnfitServerError, match=said):
        found.infer({'state': np.zeros(3)})
    found.close()


@pytest.mark.parametrize(
  'changed, said',
  [
    ({'q_threshold': 'x'}, "q_threshold: found 'x', expected a finite number"),
    ({'q_threshold': np.zeros(2)}, 'q_threshold: found an array [2]'),
    ({'step': b'x'}, "step: found b'x'"),
    ({'checkpoint': {'a': 1}}, "checkpoint: found {'a': 1}"),
    ({'action': [1]}, 'action: found [1], expected a map'),
    ({'action': {'size': '7'}}, "action: size: found '7', expected a whole number"),
    ({'action': {'size': 2**40}}, 'action: size: found 1099511627776, expected no more than'),
    ({'action': {'size': 3, 'names': 7}}, 'action: names: found 7, expected a list of texts'),
    ({'action': {'size': 3, 'kind': 'torque'}}, 'expected position or velocity'),
    ({'state': [1]}, 'state: found [1], expected a map'),
    ({'state': {'state': {'size': 3, 'names': 5}}}, "state 'state': names: found 5"),
    ({'cameras': ['x']}, "cameras: found ['x'], expected a map"),
    ({'cameras': {'images/head': 'head'}}, "cameras 'images/head': found 'head', expected a map"),
    ({'control_hz': -5.0}, 'control_hz: found -5.0, expected 0.01 to 1000'),
    ({'control_hz': float('nan')}, 'control_hz: found nan'),
    ({'control_hz': 10**400}, 'control_hz: found 1'),
    ({'execute': 0.5}, 'execute: found 0.5'),
    ({'horizon': -8}, 'horizon: found -8'),
    ({'values': 'no'}, "values: found 'no', expected true or false"),
    ({'features': np.zeros(3)}, 'features: found an array [3]'),
    ({'prompt_key': {'a': 1}}, "prompt_key: found {'a': 1}, expected a text"),
    ({'prompt_key': 'state'}, "prompt_key: found 'state', expected a key of its own"),
  ],
)
def test_a_server_that_describes_its_policy_wrongly_is_refused(changed, said, tmp_path):
  with pytest.raises(connection.UnfitServerError) as refused:
    robot_clock.recorder(tmp_path, told=scripted_server.metadata(**changed))
  assert said in str(refused.value) and '\n' not in str(refused.value)


def test_a_description_of_no_use_is_refused_when_the_connection_opens(tmp_path):
  with (
    scripted_server.serving(told={'aloe': 5}) as address,
    pytest.raises(connection.UnfitServerError, match=r'aloe: found 5, expected a map\. Noth'),
  ):
    recorder_lib.Recorder(address, 'fold', tmp_path)


@pytest.mark.parametrize('name', ['../../x', '/tmp/x', '.lock', 'a/b', '', 'a\nb', 'é', 'x' * 65])
def test_a_camera_whose_name_is_no_plain_one_is_refused(name, tmp_path):
  told = scripted_server.metadata(cameras={'../head' if not name else 'k': {'camera': name}})
  root = tmp_path / 'a' / 'b' / 'recordings'
  with pytest.raises(connection.UnfitServerError, match='expected a plain name'):
    robot_clock.recorder(root, told=told)
  assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_two_cameras_are_not_written_to_one_file(tmp_path):
  cameras = {'images/a': {'camera': 'head'}, 'images/b': {'camera': 'head'}}
  with pytest.raises(connection.UnfitServerError, match='a name of its own for each'):
    robot_clock.recorder(tmp_path, told=scripted_server.metadata(cameras=cameras))


def test_a_person_of_another_width_is_held_and_changes_nothing_for_the_policy(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, human=lambda observation: np.zeros(5))
  with contextlib.closing(recorder):
    recorder.takeover()
    assert robot_clock.play(recorder, clock, 5) == [None] * 5
    texts = [event.text for event in recorder.events.recent() if event.kind == 'human']
    assert len(texts) == 1 and 'expected 3 finite numbers' in texts[0]
    recorder.release()
    assert robot_clock.play(recorder, clock, 5)[-1].shape == (3,)


def test_a_person_of_another_width_locks_no_server_out_that_says_nothing_of_itself(tmp_path):
  recorder, clock, _ = robot_clock.recorder(
    tmp_path, told={}, human=lambda seen: np.zeros(5), hold=lambda state: state
  )
  with contextlib.closing(recorder):
    recorder.takeover()
    assert robot_clock.play(recorder, clock, 3)[-1].shape == (5,)
    recorder.end('cut')
    recorder.release()
    assert robot_clock.play(recorder, clock, 5)[-1].shape == (3,)


@pytest.mark.parametrize('text', ['\x1b[2J\x1b]0;x\x07 hi', '\x9b2J hi', 'a\r\n\x00\u202e hi'])
def test_words_of_a_server_move_no_cursor(text, tmp_path):
  sent = {'refusal': RuntimeError(text), 'flag': {**scripted_server.still({'state': np.zeros(3)})}}
  sent['flag']['aloe'] = {'flags': [text]}
  for name, answer in sent.items():
    recorder, clock, _ = robot_clock.recorder(tmp_path / name, reply=lambda r, n, a=answer: a)
    with contextlib.closing(recorder):
      robot_clock.play(recorder, clock, 3)
      (told,) = [e.text for e in recorder.events.recent() if e.kind in ('server', 'flag')]
      assert told.isprintable() and told.endswith(' hi') and '�' in told
  with scripted_server.serving(told=text) as address:
    found = connection.Connection(address)
    with pytest.raises(connection.UnfitServerError) as refused:
      found.open()
    found.close()
  assert str(refused.value).isprintable()


def test_what_a_server_says_beyond_that_is_kept_as_far_as_a_file_can_hold_it(tmp_path):
  deep = []
  for _ in range(400):
    deep = [deep]
  extra = {'low': deep, 'high': np.zeros(2, 'M8[s]'), 'x': np.zeros(1, complex), 'y': b'x'}
  told = scripted_server.metadata(action={'size': 3, 'kind': 'position', **extra})
  recorder, clock, _ = robot_clock.recorder(tmp_path, told=told)
  with recorder:
    assert robot_clock.play(recorder, clock, 5)[-1] is not None
    recorder.end('success')
  assert (tmp_path / '000000' / 'episode.json').is_file()


def test_a_report_of_too_few_episodes_gives_no_threshold_and_refuses_nothing(tmp_path):
  told = scripted_server.metadata(q_threshold=float('nan'), false_alarms=float('inf'))
  recorder, clock, _ = robot_clock.recorder(tmp_path, told=told, values=True)
  with recorder:
    assert robot_clock.play(recorder, clock, 5)[-1] is not None
    seen = recorder.snapshot()
  assert seen['q'] == -50 and seen['q_threshold'] is None and seen['false_alarms'] is None


@pytest.mark.parametrize('found, horizon', [(9, 10), (2_000_000, 10), (2_000_000, None)])
def test_a_chunk_of_another_length_than_was_told_is_none(found, horizon):
  reply = {'actions': np.zeros((found, 2), np.float32)}
  with pytest.raises(ValueError, match=f'found {found} actions|found 4000000 numbers of actions'):
    told_lib.actions(reply, 2, horizon)
  assert told_lib.actions({'actions': np.zeros((10, 2))}, 2, horizon).shape == (10, 2)


def test_as_many_names_as_numbers_are_expected():
  said = told_lib.fault({'aloe': {'action': {'size': 2, 'names': ['a', 'b', 'c']}}})
  assert said.startswith('action: names: found') and 'expected 2 of them' in said
  assert 'control_hz: found 9999' in told_lib.fault({'aloe': {'control_hz': 9999.0}})
  with pytest.raises(ValueError, match='checkpoint: found .*, expected up to 1000 characters'):
    told_lib.about({'aloe': {'checkpoint': 'x' * 10_000}})


@pytest.mark.parametrize('kind', ['', 'position'])
def test_a_robot_that_holds_is_sent_nothing_where_nobody_says_what_an_action_is(kind, tmp_path):
  robot = robot_lib.Robot(action=robot_lib.Part(scripted_server.WIDTH, kind=kind))
  recorder, clock, _ = robot_clock.recorder(
    tmp_path, told={}, hz=50, delays=(0.02, 1000.0), robot=robot
  )
  with contextlib.closing(recorder):
    told = [event.text for event in recorder.events.recent() if event.kind == 'hold']
    assert [text.split(':')[0] for text in told] == [
      'Neither the server nor robot= says whether actions are positions or velocities'
    ] * (not kind)
    commands = robot_clock.play(recorder, clock, 200)
    assert recorder.holding == 'silent'
    assert (commands[-1] is None) == (not kind)
