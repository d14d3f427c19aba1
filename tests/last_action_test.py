"""Chunks of episodes whose last action means nothing, against loops over the steps."""

import types as python_types

import bare_rlds
import command_line
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.data import steps
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer
from aloe_jax.run import datasets
from experiments import laundry

DISCOUNT, FAIL_COST, HORIZON = 0.9, 6.0, 3
TERMINAL = ('success', 'failure', 'timeout', 'takeover')
ENDS = (  # of episodes, the first letter of every step's
  '   s', '    f', '  t', '     c', 's', 'c', ' s', ' c', '  T  s', '  c s', '  Ts', '  cf',
)  # fmt: skip
WORDS = {' ': '', 's': 'success', 'f': 'failure', 't': 'timeout', 'c': 'cut', 'T': 'takeover'}


def make_episode(number, letters, *, filler=0.0):
  """An episode that says in its numbers which it is, and whose last action is a filler."""
  length = len(letters)
  step = np.arange(length)
  action = 1 + np.random.default_rng(number).normal(size=(length, 3))
  action[-1] = filler
  human = step > letters.find('T') if 'T' in letters else np.zeros(length, bool)
  return {
    'observation/state': np.stack([np.full(length, number), step], axis=1),
    'action': action.astype(np.float32),
    'source': ['human' if h else 'policy' for h in human],
    'end_reason': [WORDS[letter] for letter in letters],
  }


def write(directory, **options):
  made = [make_episode(number, letters, **options) for number, letters in enumerate(ENDS)]
  return bare_rlds.write(directory, made), made


def make_replay(found):
  own = inputs.Inputs(
    tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(8), 8, discrete_state=False),
    state=normalize.Identity(),
    action=normalize.Identity(),
    state_size=2,
  )
  chunking = replay.Chunking(HORIZON, HORIZON, DISCOUNT, FAIL_COST)
  return replay.Replay(steps.Steps([found]), own, chunking)


def left_out(episode):
  """(states, actions, ends) once the last action is gone, step by step."""
  states = [tuple(state) for state in episode['observation/state'].tolist()]
  actions = [tuple(action) for action in episode['action'].tolist()]
  ends = list(episode['end_reason'])
  if len(states) == 1:
    return states, [None], ['cut']
  if ends[-1] in TERMINAL:
    last = ends.pop()
    states.pop()
    actions.pop()
    ends[-1] = ends[-1] or last
  else:
    actions[-1] = None  # no chunk may hold it
  return states, actions, ends


def transitions(states, actions, ends):
  """(state, actions, reward, discount, next state or None) of every chunk of an episode."""
  found = []
  for start in range(len(states)):
    taken, reward, weight, here, then = [], 0.0, 1.0, start, None
    while True:
      is_last = ends[here] != ''
      if is_last and ends[here] not in TERMINAL:  # its next state was never seen
        then = states[here]
        break
      taken.append(actions[here])
      cost = {'success': 0.0, '': 1.0}.get(ends[here], FAIL_COST)
      reward, weight = reward - weight * cost, weight * DISCOUNT
      if is_last:
        weight = 0.0
        break
      here += 1
      if len(taken) == HORIZON:
        then = states[here]
        break
    if taken:
      found.append((states[start], taken, reward, weight, then))
  return found


def read(found):
  """The same of what a replay makes of an index."""
  buffer = make_replay(found)
  chunk = buffer.transitions(buffer.starts)
  actions, valid = buffer.chunks(buffer.starts)
  np.testing.assert_array_equal(valid, chunk.valid)
  return [
    (
      tuple(found.state[row].tolist()),
      [tuple(action) for action in np.asarray(actions[b])[valid[b]].tolist()],
      float(chunk.reward[b]) / buffer.chunking.reward_scale,
      float(chunk.discount[b]),
      tuple(found.state[chunk.next_row[b]].tolist()) if chunk.discount[b] else None,
    )
    for b, row in enumerate(buffer.starts)
  ]


def assert_same(found, expected):
  assert len(found) == len(expected)
  for (state, actions, reward, weight, then), wanted in zip(found, expected, strict=True):
    assert (state, actions, then) == (wanted[0], wanted[1], wanted[4])
    np.testing.assert_allclose([reward, weight], wanted[2:4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('setting', ['keep', 'drop', 'auto'])
@pytest.mark.parametrize('filler', [0.0, np.nan])
def test_all_chunks_are_those_that_loops_over_the_steps_find(setting, filler, tmp_path):
  directory, made = write(tmp_path / 'data', filler=filler)
  if setting == 'keep' and np.isnan(filler):
    with pytest.raises(ValueError, match=r'step 3: steps/action: found NaN .*last_action=drop'):
      index.load(directory, {'last_action': setting})
    return
  found = index.load(directory, {'last_action': setting})
  expected = []
  for episode in made:
    plain = [list(map(tuple, episode[key].tolist())) for key in ('observation/state', 'action')]
    kept = (*plain, episode['end_reason'])
    expected += transitions(*(kept if setting == 'keep' else left_out(episode)))
  assert_same(read(found), expected)
  assert np.isfinite(found.action).all()


def test_the_step_before_gets_the_end_and_a_cut_keeps_its_last_state(tmp_path):
  found = index.load(write(tmp_path / 'data')[0], {})
  episodes = [slice(*found.boundaries[e : e + 2]) for e in range(len(ENDS))]
  ends = [''.join(str(int(end)) for end in found.end_reason[rows]) for rows in episodes]
  none, success, failure, timeout, takeover, cut = '012345'
  assert [types.EndReason(int(x)).name for x in '12345'] == [
    'SUCCESS', 'FAILURE', 'TIMEOUT', 'TAKEOVER', 'CUT',
  ]  # fmt: skip
  assert ends == [
    none * 2 + success, none * 3 + failure, none + timeout, none * 5 + cut, cut, cut, success,
    none + cut, none * 2 + takeover + none + success, none * 2 + cut + success,
    none * 2 + takeover, none * 2 + cut,
  ]  # fmt: skip
  states = [found.state[rows, 1].tolist() for rows in episodes]
  assert states[0] == [0, 1, 2]
  assert states[3] == [0, 1, 2, 3, 4, 5]


def test_the_reward_beyond_the_last_action_is_its_own_unless_it_is_zero(tmp_path):
  made = [make_episode(number, '   s') for number in range(3)]
  made[0]['reward'], made[1]['reward'] = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 0])
  made[2]['reward'] = np.array([-1, -1, -1, np.nan])
  directory = bare_rlds.write(tmp_path / 'data', made)
  found = index.load(directory, {'reward': 'reward'})
  assert found.reward.tolist() == [0, 0, 1, 0, 0, 2, -1, -1, -1]


def test_what_is_read_into_memory_is_what_is_indexed(tmp_path):
  directory, _ = write(tmp_path / 'data')
  found, episodes = index.load(directory, {}), rlds.read(directory)
  np.testing.assert_array_equal(np.concatenate([e.action for e in episodes]), found.action)
  np.testing.assert_array_equal(np.concatenate([e.state[:, :2] for e in episodes]), found.state)
  np.testing.assert_array_equal(np.concatenate([e.end_reason for e in episodes]), found.end_reason)


def test_auto_says_why_when_it_drops_and_an_index_remembers_it(tmp_path, monkeypatch):
  directory, _ = write(tmp_path / 'data')
  told = (
    "last action: left out (the same zeros in all 10 episodes looked at, RLDS's own convention); "
    '--config.data.mapping.last_action=keep reads it.'
  )
  dropped = index.load(directory, {})
  assert dropped.last_action == told
  assert dropped.remarks == [f'{directory}: {told}']
  kept = index.load(directory, {'last_action': 'keep'})
  assert (kept.remarks, len(kept) > len(dropped)) == ([], True)
  assert kept.content != dropped.content
  monkeypatch.setattr('aloe_jax.data.records.decided', None)
  assert index.load(directory, {}).remarks == dropped.remarks


def test_what_is_suspect_but_kept_is_told_by_every_command(tmp_path, monkeypatch, capsys):
  made = [make_episode(number, '    s', filler=number % 2) for number in range(8)]
  directory = bare_rlds.write(tmp_path / 'data', made)
  told = (
    'last action: kept, though it may mean nothing (the same zeros in 4 of 8 episodes looked at, '
    'and rare elsewhere); --config.data.mapping.last_action=drop leaves it out.'
  )
  for command in ('inspect', 'validate', 'stats'):
    options = ['--to', tmp_path / 'n.json', '--chunk=2'] if command == 'stats' else []
    assert told in command_line.data(monkeypatch, capsys, command, directory, *options)[1]
  found = index.load(directory, {})
  assert (len(found), found.remarks) == (40, [f'{directory}: {told}'])


def test_a_dataset_that_keeps_its_last_actions_has_the_index_that_it_always_had(tmp_path):
  made = [make_episode(number, '   s', filler=number + 1) for number in range(3)]
  directory = bare_rlds.write(tmp_path / 'data', made)
  found, kept = index.load(directory, {}), index.load(directory, {'last_action': 'keep'})
  assert found.content == kept.content
  assert len([path for path in tmp_path.iterdir() if 'index' in path.name]) == 1
  assert (found.remarks, len(found)) == ([], 12)


def test_the_commands_say_it_and_take_the_option(tmp_path, monkeypatch, capsys):
  directory, _ = write(tmp_path / 'data')
  for command in ('inspect', 'validate', 'stats'):
    options = ['--to', tmp_path / 'n.json', '--chunk=2'] if command == 'stats' else []
    _, printed, _ = command_line.data(monkeypatch, capsys, command, directory, *options)
    assert 'last action: left out (the same zeros in all 10' in printed
  assert (
    '--config.data.mapping.last_action=auto'
    in command_line.data(monkeypatch, capsys, 'inspect', directory)[1]
  )
  options = ('inspect', directory, '--mapping.last_action=keep', '--json')
  _, printed, _ = command_line.data(monkeypatch, capsys, *options)
  assert '"last_action": ""' in printed
  with pytest.raises(ValueError, match="last_action: found 'dorp', expected one of .*'drop'"):
    index.load(directory, {'last_action': 'dorp'})


def test_training_says_it_and_keeps_all_that_a_run_itself_recorded(tmp_path, capsys):
  made = [make_episode(number, '   s') for number in range(3)]
  for episode in made:
    episode['observation/features'] = np.zeros((4, 3, 2))
  given, own = (bare_rlds.write(tmp_path / name, made) for name in ('given', 'own'))

  def read(**changes):
    config = laundry.get_config('sim')
    config.data.episodes = (str(given),)
    config.update_from_flattened_dict({'task.action_size': 3, 'task.proprio_size': 2} | changes)
    experiment = python_types.SimpleNamespace(
      encoder=None, config=config, feature_shape=lambda: (3, 2)
    )
    opened = datasets.Datasets(experiment, {})
    lengths = [len(opened.read([directory])) for directory in (given, own)]
    return lengths, capsys.readouterr().out

  lengths, told = read()
  assert lengths == [9, 12]
  assert told.count('last action: left out (the same zeros in all 3 episodes looked at') == 1
  assert read(**{'data.mapping.last_action': 'keep'})[0] == [12, 12]
  assert read(**{'sim.task': ''})[0] == [9, 9]  # a robot's, to be judged by
