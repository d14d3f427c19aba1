"""A prompt at every step is written, read back, and opened with TFDS."""

import dataclasses

import foreign
import pytest
import robot

from aloe_jax.data import index as index_lib
from aloe_jax.data import rlds

PROMPTS = ['grasp the towel'] * 5 + ['叠毛巾 🧺'] * 7


def test_a_prompt_of_every_step_arrives_at_its_step(tmp_path):
  one, other = (robot.make_episode(number) for number in range(2))
  several = dataclasses.replace(one, prompt=PROMPTS)
  rlds.write(tmp_path / 'out', [several, other], name='x')
  found, single = rlds.read(tmp_path / 'out')
  assert found.prompt == found.prompts == PROMPTS
  assert single.prompt == other.prompt
  assert single.prompts == [other.prompt] * len(other)
  index = index_lib.load(tmp_path / 'out', {})
  assert [index.prompts[number] for number in index.prompt] == PROMPTS + single.prompts
  rlds.write(tmp_path / 'again', [found], name='x')
  assert rlds.read(tmp_path / 'again')[0].prompt == PROMPTS


def test_tfds_reads_the_same_prompts(tmp_path):
  episode = dataclasses.replace(robot.make_episode(0), prompt=tuple(PROMPTS))
  rlds.write(tmp_path / 'out', [episode], name='x')
  _, tfds = foreign.load_tensorflow()
  (example,) = tfds.builder_from_directory(tmp_path / 'out').as_dataset(split='train')
  read = [step['language_instruction'].decode() for step in example['steps'].as_numpy_iterator()]
  assert read == PROMPTS


@pytest.mark.parametrize(
  'prompt, message',
  [
    (PROMPTS[:-1], 'expected one str for the episode, or one a step: 12'),
    ([*PROMPTS[:-1], None], 'expected one str for the episode, or one a step: 12'),
    ([], r'prompt: found \[\], a list; expected one str for the episode, or one a step: 12'),
    (7, 'prompt: found 7, a int; expected one str for the episode, or one a step: 12'),
  ],
)
def test_prompts_that_are_not_one_a_step_are_refused(prompt, message, tmp_path):
  episode = dataclasses.replace(robot.make_episode(0), prompt=prompt)
  with pytest.raises(ValueError, match=message):
    rlds.write(tmp_path / 'out', [episode], name='x')
