"""Some numbers of a wide state or action are chosen by slices, in every place that names fields."""

import json

import bare_rlds
import command_line
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax.data import index
from aloe_jax.data import mapping
from aloe_jax.data import schema
from experiments import laundry

STATE = 'observation/state[0:7],observation/state[30:37]'
COLUMNS = [*range(7), *range(30, 37)]


@pytest.fixture(scope='module')
def humanoid(tmp_path_factory):
  """A dataset of 44 numbers of state and action, and its episodes."""
  rng = np.random.default_rng(0)
  made = [
    {
      'observation/state': rng.normal(size=(6, 44)).astype(np.float32),
      'observation/hands': rng.normal(size=(6, 2, 3)).astype(np.float32),
      'action': rng.normal(size=(6, 44)).astype(np.float32),
    }
    for _ in range(2)
  ]
  return bare_rlds.write(tmp_path_factory.mktemp('humanoid') / 'data', made), made


def joined(made, name):
  return np.concatenate([episode[name].reshape(6, -1) for episode in made])


@pytest.mark.parametrize(
  'wanted', [STATE, STATE.split(','), STATE.replace('[0:', '[:').replace(',', ' , ')]
)
def test_slices_are_joined_in_the_order_given(wanted, humanoid):
  directory, made = humanoid
  reverse = ['action[43]', 'action[0]']
  found = index.load(directory, {'state': wanted, 'action': reverse})
  np.testing.assert_array_equal(found.state, joined(made, 'observation/state')[:, COLUMNS])
  np.testing.assert_array_equal(found.action, joined(made, 'action')[:, [43, 0]])


def test_a_slice_of_a_field_of_two_dimensions_counts_its_numbers_one_after_another(humanoid):
  directory, made = humanoid
  found = index.load(directory, {'state': 'observation/hands[2:5]', 'action': 'action[:9]'})
  np.testing.assert_array_equal(found.state, joined(made, 'observation/hands')[:, 2:5])


def test_paths_hold_both_bounds_and_a_slice_of_all_is_the_field(humanoid):
  leaves = schema.read(humanoid[0]).leaves
  found = mapping.resolve(leaves, {'state': 'observation/state[30:]', 'action': 'action[:44]'})
  assert found.state == ('steps/observation/state[30:44]',)
  assert found.action == ('steps/action',)
  assert mapping.width(leaves, found.state) == 14
  assert mapping.width(leaves, ('steps/action', 'steps/observation/hands[4]')) == 45


@pytest.mark.parametrize(
  'state, message',
  [
    ('observation/state[40:45]', r'state: steps/observation/state\[40:45\]: steps/observation/state'
     r' has 44 numbers a step, expected a slice within \[0:44\]'),
    ('observation/state[0:7,30:37]', r'state: observation/state\[0:7,30:37\]: found brackets'),
    ('observation/state[-7:]', 'expected one slice of whole numbers from 0 on'),
    ('observation/stat[0:7]', 'state: observation/stat is missing.*observation/state'),
  ],
)  # fmt: skip
def test_a_wrong_slice_names_the_field_and_its_width(state, message, humanoid):
  with pytest.raises(ValueError, match=message):
    index.load(humanoid[0], mapping.parse({'state': state}))


def test_only_the_numbers_that_are_chosen_have_to_be_finite(tmp_path):
  numbers = np.ones((4, 3))
  numbers[1, 2] = np.nan
  data = {'observation/state': numbers, 'action': np.arange(8).reshape(4, 2)}
  bare_rlds.write(tmp_path / 'data', [data])
  assert index.load(tmp_path / 'data', {'state': 'observation/state[0:2]'}).state.shape == (4, 2)
  with pytest.raises(ValueError, match=r'step 1: steps/observation/state\[1:3\]: found NaN'):
    index.load(tmp_path / 'data', {'state': 'observation/state[1:]'})


def test_the_commands_take_slices_and_print_what_can_be_pasted_back(
  humanoid, monkeypatch, capsys, tmp_path
):
  chosen = (f'--mapping.state={STATE}', '--mapping.action=action[3:5]')
  _, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', humanoid[0], *chosen)
  assert f"--config.data.mapping.state='{STATE}'" in printed
  _, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', humanoid[0], *chosen, '--json')
  assert json.loads(printed)['mapping']['state'] == STATE
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', humanoid[0], *chosen)
  assert (status, 'No problems found' in printed) == (0, True)
  options = (*chosen, f'--to={tmp_path}/norm.json', '--chunk=2', '--json')
  _, printed, _ = command_line.data(monkeypatch, capsys, 'stats', humanoid[0], *options)
  stats = json.loads(printed)['norm_stats']
  assert (len(stats['state']['mean']), len(stats['actions']['mean'])) == (14, 2)
  expected = joined(humanoid[1], 'observation/state')[:, COLUMNS].mean(axis=0)
  np.testing.assert_allclose(stats['state']['mean'], expected, atol=1e-5)


def test_training_reads_the_slices_of_its_config(humanoid):
  config = laundry.get_config('debug')
  config.data.mapping.update(state=STATE, action='action[0:14]')
  parsed = mapping.parse(config.data.mapping)
  found = index.load(humanoid[0], parsed)
  assert (found.state.shape[1], found.action.shape[1]) == (14, 14)
  config_lib.validate(config)
