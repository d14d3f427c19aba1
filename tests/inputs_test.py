"""Inputs: what a robot shows and does, in the network's units and back."""

import pathlib

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer

GOLDEN = pathlib.Path(__file__).parent / 'golden'
NORM_STATS = GOLDEN / 'pi05_case_a_orbax' / 'assets' / 'trossen' / 'norm_stats.json'
STATE = normalize.Stats(np.zeros(3), np.ones(3), np.array([0.0, -2, 10]), np.array([1.0, 2, 30]))
ACTION = normalize.Stats(np.array([1.0, 0]), np.array([0.5, 2.0]))


def make(discrete_state=True, **changes):
  values = {
    'tokenizer': tokenizer.PromptTokenizer(tokenizer.Words(50_000), 12, discrete_state),
    'state': normalize.Quantile(STATE, 'state'),
    'action': normalize.ZScore(ACTION, 'actions'),
    'state_size': 3,
  }
  return inputs_lib.Inputs(**values | changes)


def padded(*numbers):
  return np.pad(np.float32(numbers), (0, 32 - len(numbers)))


def test_the_state_is_normalised_and_its_padding_stays_zero():
  inputs = make()
  raw = np.stack([padded(0.5, 2, 15), padded(0, -4, 30)])
  expected = np.stack([padded(0, 1, -0.5), padded(-1, -2, 1)])
  for proprio in (inputs.proprio(raw), jax.jit(inputs.proprio)(raw)):
    assert proprio.dtype == np.float32
    np.testing.assert_allclose(proprio, expected, atol=1e-5)
  assert isinstance(inputs.proprio(raw), np.ndarray)


def test_relative_actions_are_those_of_openpi():
  with np.load(GOLDEN / 'pi05_io_golden.npz') as golden:
    raw = padded(*golden['normalize/in/state'][0])
    action, expected = golden['normalize/in/actions'], golden['delta/actions']
  inputs = make(action=normalize.Identity(), state_size=14, delta=(6, -1, 6, -1))
  np.testing.assert_allclose(inputs.chunk(action, raw), expected, rtol=1e-5)
  np.testing.assert_allclose(inputs.undo_chunk(expected, raw), action, rtol=1e-5, atol=1e-6)


def test_an_action_is_made_relative_to_the_robots_state_before_it_is_normalised():
  inputs = make(delta=(-1, 1))
  chunk = inputs.chunk(np.array([[1.5, 7], [2, 5]]), padded(9, 3, 9))
  np.testing.assert_allclose(chunk, [[1, 2], [2, 1]], atol=1e-5)  # (7 - 3) / 2, (5 - 3) / 2
  assert chunk.dtype == np.float32


@pytest.mark.parametrize('delta', [(), (1,), (-1, 1), (2,), (-2,)])
def test_undoing_a_chunk_gives_the_robots_actions_on_either_kind_of_array(delta):
  inputs = make(delta=delta)
  rng = np.random.default_rng(0)
  action = np.float32(rng.normal(size=(4, 5, 2)))
  raw = np.stack([padded(*row) for row in rng.normal(size=(4, 3))])

  def there_and_back(action, raw):
    return inputs.undo_chunk(inputs.chunk(action, raw), raw)

  found = there_and_back(action, raw)
  assert isinstance(found, np.ndarray) and found.dtype == np.float32
  np.testing.assert_allclose(found, action, atol=1e-6)
  np.testing.assert_allclose(jax.jit(there_and_back)(action, raw), action, atol=1e-6)
  np.testing.assert_allclose(inputs.chunk(action[1], raw[1]), inputs.chunk(action, raw)[1])
  np.testing.assert_allclose(
    jax.jit(inputs.chunk)(action, raw), inputs.chunk(action, raw), atol=1e-6
  )


def test_all_maps_together_restore_what_a_real_robots_statistics_describe():
  stats = normalize.read(NORM_STATS)
  inputs = make(
    state=normalize.Quantile(stats['state'], 'state'),
    action=normalize.Quantile(stats['actions'], 'actions'),
    state_size=14,
    delta=(6, -1, 6, -1),
  )
  with np.load(GOLDEN / 'pi05_io_golden.npz') as golden:
    raw = np.stack([padded(*row) for row in golden['normalize/in/state']])
    action = np.stack([golden['normalize/in/actions']] * len(raw))
  proprio = inputs.proprio(raw)
  np.testing.assert_array_equal(proprio[:, 14:], 0)
  np.testing.assert_allclose(
    inputs.undo_chunk(inputs.chunk(action, raw), raw), action, rtol=1e-5, atol=1e-5
  )


def test_a_prompt_tells_the_normalised_state_without_its_padding():
  inputs = make()
  proprio = np.stack([padded(0, 1, -0.5), padded(-1, -2, 0.5)])
  tokens, mask = inputs.prompts(['fold it', 'pack it'], proprio)
  encode = tokenizer.Words(50_000).encode
  for row, text in enumerate(
    ['Task: fold it, State: 128 255 64;\nAction: ', 'Task: pack it, State: 0 -1 192;\nAction: ']
  ):
    np.testing.assert_array_equal(tokens[row][mask[row]], encode(text, bos=True))
  assert tokens.shape == mask.shape == (2, 12)
  assert tokens.dtype == np.int32 and mask.dtype == bool


def test_a_prompt_without_state_is_the_same_with_or_without_proprio():
  inputs = make(discrete_state=False)
  tokens, _ = inputs.prompts(['fold it'] * 2, np.zeros((2, 32)))
  np.testing.assert_array_equal(tokens, inputs.prompts(['fold it'] * 2, None)[0])


def test_prompts_and_states_of_different_number_are_refused():
  with pytest.raises(ValueError, match='zip'):
    make().prompts(['fold it'], np.zeros((2, 32)))


def test_a_delta_longer_than_the_state_or_the_action_is_refused():
  with pytest.raises(ValueError, match=r'delta \(2, -2\) covers 4 numbers, but the state has 3'):
    make(delta=(2, -2))
  with pytest.raises(ValueError, match=r'delta \(3,\) covers 3 numbers, but an action has 2'):
    make(delta=(3,)).chunk(np.zeros((5, 2)), padded(1, 2, 3))


@pytest.mark.parametrize('size', [0, 33])
def test_a_state_that_proprio_cannot_hold_is_refused(size):
  with pytest.raises(ValueError, match=f'the state has {size} numbers, expected 1 to 32'):
    make(state_size=size)


class Letters:
  """A token a letter."""

  vocab_size = 256

  def encode(self, text, bos):
    return list(text.encode())


def test_a_prompt_is_too_long_if_some_state_makes_it_so():
  inputs = make(tokenizer=tokenizer.PromptTokenizer(Letters(), 40, discrete_state=True))
  lowest = inputs.proprio(padded(0, -2, 10))  # 'Task: fold, State: 0 0 0;\nAction: '
  inputs.prompts(['fold it up'], lowest[None])
  inputs.check_prompts(['f', 'fold'])  # 'Task: fold, State: 255 255 255;\nAction: ' has 40 letters
  with pytest.raises(ValueError, match="prompt 'folds' has 41 tokens, more than the 40 that"):
    inputs.check_prompts(['f', 'folds'])


def test_a_prompt_that_is_tagged_has_to_leave_room_for_either_tag():
  # 'Task: f, State: 255 255 255;\nAdvantage: negative\nAction: ' has 57 letters
  letters = {n: tokenizer.PromptTokenizer(Letters(), n, discrete_state=True) for n in (56, 57)}
  make(tokenizer=letters[56]).check_prompts(['f'])
  make(tokenizer=letters[57], tagged=True).check_prompts(['f'])
  with pytest.raises(ValueError, match="prompt 'f' has 57 tokens, more than the 56 that"):
    make(tokenizer=letters[56], tagged=True).check_prompts(['f'])


def test_each_prompt_of_a_batch_has_its_own_tag():
  inputs = make(discrete_state=False)
  tags = [types.Tag.NEGATIVE, types.Tag.NONE, types.Tag.POSITIVE]
  tokens, mask = inputs.prompts(['fold it'] * 3, None, tags)
  encode = tokenizer.Words(50_000).encode
  texts = ['fold it advantage negative', 'fold it', 'fold it advantage positive']
  for row, text in enumerate(texts):
    np.testing.assert_array_equal(tokens[row][mask[row]], encode(text, bos=True))
