"""Flags of RLDS that somebody names are heard or refused, and what nobody reads is listed."""

import command_line
import foreign
import lerobot_files
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings
from aloe_jax.data.tools import inspection
from aloe_jax.data.tools import validation

NAN = float('nan')


def write(directory, step=None, episode=None):
  """Episodes of 4, 1 and 3 steps; {name: (type, (episode, step) or episode -> value)}."""
  text = foreign.tfds_features().Text()
  kinds = {float: np.float32, int: np.int64, bool: np.bool_, str: text}
  step, episode = step or {}, episode or {}
  foreign.simple(
    directory,
    {name: kinds[kind] for name, (kind, _) in step.items()},
    lambda e, t: {name: value(e, t) for name, (_, value) in step.items()},
    episode={'episode_metadata': {name: kinds[kind] for name, (kind, _) in episode.items()}}
    if episode
    else None,
    metadata=lambda e: (
      {'episode_metadata': {n: value(e) for n, (_, value) in episode.items()}} if episode else {}
    ),
  )
  return directory


def sources(directory, mapping):
  return ''.join('dph'[source] for source in index.load(directory, mapping).source)


HELP = {'intervention': (int, lambda e, t: int(t == 2))}


def refusal(directory, mapping):
  with pytest.raises(ValueError, match='mapping') as refused:
    index.load(directory, mapping)
  return str(refused.value)


def test_a_named_intervention_is_refused_beside_a_source_of_every_step(tmp_path):
  data = write(tmp_path / 'data', HELP | {'source': (str, lambda e, t: 'policy')})
  assert sources(data, {}) == 'p' * 8
  message = refusal(data, {'intervention': 'intervention'})
  assert 'intervention: steps/intervention: found steps/source beside it' in message
  assert 'config.data.mapping.source=none' in message
  assert sources(data, {'intervention': 'intervention', 'source': None}) == 'pphp' + 'p' + 'pph'
  found = inspection.inspect(data, {})
  assert found.mapping['intervention'] == 'none'
  assert found.unread == {'steps/intervention': 'intervention'}


def test_a_named_intervention_that_contradicts_a_demonstration_is_refused_by_step(
  tmp_path, monkeypatch, capsys
):
  who = {'source': (str, lambda e: 'demo')}
  data = write(tmp_path / 'data', HELP, who)
  assert sources(data, {}) == 'd' * 8
  assert inspection.inspect(data, {}).mapping['intervention'] == 'none'
  message = refusal(data, {'intervention': 'intervention'})
  assert 'episode 0, step 2: steps/intervention: found that a human acts, where ' in message
  assert "episode_metadata/source is 'demo'" in message
  assert 'config.data.mapping.source=none' in message
  assert 'config.data.mapping.intervention=none' in message
  (report,) = validation.validate(data, {'intervention': 'intervention'})
  assert len([found for found in report.problems if found.episode is not None]) == 2
  option = '--mapping.intervention=intervention'
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', data, option)
  assert status == 0  # of the episode of one step
  assert 'Wrong: 2 episodes or files' in printed
  assert 'episode 0, step 2: steps/intervention: found that a human acts, where' in printed
  unset = write(tmp_path / 'unset', {'intervention': (int, lambda e, t: 0)}, who)
  assert sources(unset, {'intervention': 'intervention'}) == 'd' * 8


def test_a_named_intervention_is_read_in_the_episodes_of_the_policy(tmp_path):
  flag = {'intervention': (int, lambda e, t: int(t == 2 and e == 0))}
  data = write(tmp_path / 'data', flag, {'source': (str, lambda e: 'demo' if e else 'rollout')})
  for mapping in ({}, {'intervention': 'intervention'}):
    assert sources(data, mapping) == 'pphp' + 'd' * 4
  assert inspection.inspect(data, {}).mapping['intervention'] == 'intervention'


@pytest.mark.parametrize('value', [NAN, 0.5, -1.0])
def test_a_named_intervention_that_is_no_flag_is_refused_in_a_demonstration_too(value, tmp_path):
  flag = {'intervention': (float, lambda e, t: value if t == 2 else 0.0)}
  data = write(tmp_path / 'data', flag, {'source': (str, lambda e: 'demo')})
  assert sources(data, {}) == 'd' * 8
  assert 'episode 0, step 2: steps/intervention: found' in refusal(
    data, {'intervention': 'intervention'}
  )


def test_a_named_intervention_of_the_episode_is_that_of_all_its_steps(tmp_path):
  flag = {'intervention': (bool, lambda e: e == 2)}
  data = write(tmp_path / 'data', episode=flag)
  assert sources(data, {}) == 'd' * 8
  for name in ('episode_metadata/intervention', 'episode_metadata/intervention==1'):
    assert sources(data, {'intervention': name}) == 'p' * 5 + 'h' * 3
  found = inspection.inspect(data, {})
  assert found.mapping['intervention'] == 'none'
  assert found.unread == {'episode_metadata/intervention': 'intervention'}


@pytest.mark.parametrize(
  'who, flag, said',
  [
    ('demo', True, 'found that a human acts'),
    ('rollout', True, 'found that a human acts'),  # at some steps, and it does not say which
    ('human', False, 'found that no human acts'),
  ],
)
def test_an_intervention_of_the_episode_must_agree_with_its_source(who, flag, said, tmp_path):
  data = write(
    tmp_path / 'data',
    episode={'source': (str, lambda e: who), 'intervention': (bool, lambda e: flag)},
  )
  message = refusal(data, {'intervention': 'episode_metadata/intervention'})
  assert f'episode 0: episode_metadata/intervention: {said}' in message.replace(', record 0', '')
  assert 'config.data.mapping.source=none' in message


def test_a_success_of_the_episode_that_its_last_step_contradicts_is_refused(tmp_path):
  data = write(
    tmp_path / 'data',
    {'success': (bool, lambda e, t: False)},
    {'success': (bool, lambda e: e == 1)},
  )
  message = refusal(data, {})
  assert 'episode 1' in message
  assert 'episode_metadata/success: found True, and steps/success False at the last' in message
  assert index.load(data, {'success': 'episode_metadata/success'}).end_reason.tolist() == [
    *[0, 0, 0, types.EndReason.FAILURE, types.EndReason.SUCCESS, 0, 0, types.EndReason.FAILURE]
  ]
  ends = index.load(data, {'success': 'steps/success'}).end_reason
  assert ends.tolist() == [0, 0, 0, 2, 2, 0, 0, 2]
  agrees = write(
    tmp_path / 'agrees',
    {'success': (bool, lambda e, t: (e, t) == (0, 3))},
    {'success': (bool, lambda e: e == 0)},
  )
  assert index.load(agrees, {}).end_reason[3] == types.EndReason.SUCCESS


def test_what_looks_like_a_flag_of_rlds_is_listed(tmp_path, monkeypatch, capsys):
  data = write(
    tmp_path / 'data',
    {'control_mode': (str, lambda e, t: 'teleop'), 'is_takeover': (int, lambda e, t: 0)},
    {'episode_outcome': (str, lambda e: 'done'), 'file_path': (str, lambda e: 'x')},
  )
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', data)
  assert status == 0
  listed = [line for line in printed.splitlines() if 'looks like a flag and is not read' in line]
  assert [line.split()[0] for line in listed] == [
    'episode_metadata/episode_outcome', 'control_mode', 'is_takeover',
  ]  # fmt: skip
  assert "config.data.mapping.intervention='control_mode==VALUE' reads it" in printed
  assert 'config.data.mapping.intervention=is_takeover reads it' in printed


def test_what_looks_like_a_flag_of_lerobot_is_listed(tmp_path):
  names = ('source', 'control_mode', 'is_takeover', 'teleop', 'episode_outcome', 'is_failure')
  columns = {name: [[0] * length for length in lerobot_files.STEPS] for name in names}
  lerobot_files.write_v2(tmp_path / 'dataset', 'image', **columns)
  notes = lerobot.Dataset(tmp_path / 'dataset', settings.Settings()).notes
  assert [note for note in notes if note.startswith('flags')] == [
    "flags: control_mode: not read; --intervention='control_mode==VALUE' reads it",
    'flags: episode_outcome: not read; --success=episode_outcome reads it',
    "flags: is_failure: not read; --success='is_failure==0' reads it",
    'flags: is_takeover: not read; --intervention=is_takeover reads it',
    "flags: source: not read; --intervention='source==VALUE' reads it",
    'flags: teleop: not read; --intervention=teleop reads it',
  ]
