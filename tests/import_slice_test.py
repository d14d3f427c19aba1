"""A part of a wide state or action, or several joined, can be imported."""

import command_line
import lerobot_timed
import numpy as np
import pytest

from aloe_jax.data import rlds

WIDE = np.random.default_rng(0).normal(size=(8, 44)).astype(np.float32)
HAND = np.arange(8, dtype=np.float32)


def write(kind, root):
  if kind == 'lerobot':
    wide = {'observation.state': WIDE.tolist(), 'action': WIDE.tolist(), 'hand': HAND}
    lerobot_timed.write(root / 'in', [lerobot_timed.episode(range(8), **wide)], kind=None)
    return 'observation.state'
  folder = root / 'in/take'
  folder.mkdir(parents=True)
  for name, array in (('state', WIDE), ('action', WIDE), ('hand', HAND)):
    np.save(folder / f'{name}.npy', array)
  (folder / 'episode.json').write_text('{"prompt": "fold"}')
  return 'state'


@pytest.fixture(params=['lerobot', 'plain'])
def run(request, monkeypatch, capsys, tmp_path):
  state = write(request.param, tmp_path)

  def command(*options):
    given = (f'--from={request.param}', tmp_path / 'in', '--to', tmp_path / 'out', '--name=x')
    options = [option.replace('STATE', state) for option in options]
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return command


@pytest.mark.parametrize(
  'state, action, columns, expected',
  [
    (
      'STATE[0:14]',
      'action[0:7],action[30:37],hand',
      WIDE[:, :14],
      np.c_[WIDE[:, :7], WIDE[:, 30:37], HAND],
    ),
    ('STATE[:14],hand', 'action[30:]', np.c_[WIDE[:, :14], HAND], WIDE[:, 30:]),
    ('STATE[0:7], hand', 'action[43]', np.c_[WIDE[:, :7], HAND], WIDE[:, 43:]),
    ('hand,STATE[3]', 'hand[0:1],action[2:4]', np.c_[HAND, WIDE[:, 3]], np.c_[HAND, WIDE[:, 2:4]]),
  ],
)
def test_parts_are_joined_in_the_order_given(state, action, columns, expected, run, tmp_path):
  status, _, _ = run(f'--state={state}', f'--action={action}')
  assert status == 0, status
  (found,) = rlds.read(tmp_path / 'out')
  width = columns.shape[1]
  np.testing.assert_array_equal(found.state[:, :width], columns)
  assert not found.state[:, width:].any()
  np.testing.assert_array_equal(found.action, expected)


@pytest.mark.parametrize(
  'option, message',
  [
    ('--state=STATE[40:50]', 'has 44 numbers a step, expected a slice within [0:44]'),
    ('--state=STATE[50:]', 'has 44 numbers a step, expected a slice within [0:44]'),
    ('--action=action[0:7],action[44]', 'action has 44 numbers a step, expected a slice within'),
    ('--state=hand,STATE[0:45]', 'has 44 numbers a step, expected a slice within [0:44]'),
    ('--state=STATE[-3:]', '--state: STATE[-3:]: found brackets that cannot be read'),
    ('--state=STATE[7:7]', '--state: STATE[7:7]: found a slice without a number in it'),
    ('--action=action[9:3]', '--action: action[9:3]: found a slice without a number in it'),
    ('--action=action[0:7:2]', '--action: action[0:7:2]: found brackets that cannot be read'),
    ('--action=actions[0:7],action', 'actions'),
  ],
)
def test_a_part_that_is_not_there_is_refused_with_the_width_found(option, message, run, tmp_path):
  other = '--state=hand,STATE[:3]' if option.startswith('--action') else '--action=hand,action'
  status, _, _ = run(option, other)
  assert message.replace('STATE', 'state') in status.replace('observation.state', 'state')
  assert not (tmp_path / 'out').exists()
