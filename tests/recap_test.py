"""RECAP: the threshold, the tags in batches, and an actor that heeds them."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
import tiny

from aloe_jax import policy as policy_lib
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.agents import recap
from aloe_jax.data import replay
from aloe_jax.data import tags as tags_lib
from aloe_jax.learning import chunk_weights
from aloe_jax.preprocessing import tokenizer

pytestmark = pytest.mark.usefixtures('quick_compilation')

DEMO, POLICY, HUMAN = types.Source
NO_END, SUCCESS, FAILURE, _, TAKEOVER, CUT = types.EndReason
NONE, POSITIVE, NEGATIVE = types.Tag
INPUTS = dataclasses.replace(
  tiny.INPUTS,
  tokenizer=tokenizer.PromptTokenizer(tokenizer.Words(tiny.VOCABULARY), 8, discrete_state=False),
  tagged=True,
)


def settings(**changes):
  return tiny.make_settings('recap', **changes)


def make_buffer(inputs=INPUTS):
  rng = np.random.default_rng(0)
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, discount=0.9, fail_cost=5.0)
  episodes = [
    tiny.make_episode(rng, [NO_END] * 6 + [SUCCESS]),
    tiny.make_episode(rng, [NO_END] * 4 + [TAKEOVER, NO_END, NO_END, CUT]),
    tiny.make_episode(rng, [NO_END] * 3 + [FAILURE], source=POLICY, prompt='and back'),
  ]
  episodes[1].source[:5], episodes[1].source[5:] = POLICY, HUMAN
  return replay.Replay(tiny.make_steps(episodes), inputs, chunking)


# Which chunks are positive


def test_the_stated_share_of_the_policys_chunks_lies_above_the_threshold():
  # Of 10, 20 .. 50 the quantile of 0.6 is 34: two of five are above.
  advantage = np.float32([20, 50, 10, 40, 30])
  found = recap.is_positive(advantage, np.full(5, POLICY), settings(positive=0.4))
  np.testing.assert_array_equal(found, [False, True, False, True, False])
  found = recap.is_positive(advantage, np.full(5, POLICY), settings(positive=0.8))
  np.testing.assert_array_equal(found, [True, True, False, True, True])


def test_demonstrations_are_held_against_the_policys_threshold_and_corrections_against_none():
  advantage = np.float32([20, 50, 10, 40, 30, 33, 35, -99, 60])
  source = np.array([POLICY] * 5 + [DEMO, DEMO, HUMAN, HUMAN])
  found = recap.is_positive(advantage, source, settings(positive=0.4))
  np.testing.assert_array_equal(found[5:], [False, True, True, True])


def test_without_rollouts_the_threshold_is_that_of_all_chunks():
  found = recap.is_positive(np.float32([1, 2, 3, 4]), np.full(4, DEMO), settings(positive=0.5))
  np.testing.assert_array_equal(found, [False, False, True, True])


# Tags in batches


def test_a_sweep_tags_every_chunk_and_weighs_all_alike():
  learner, buffer = tiny.make_learner('recap', positive=0.5), make_buffer()
  params = tiny.make_state(learner).critic
  found = chunk_weights.sweep(
    learner, params, buffer, buffer.starts, None, batch_size=4, progress=lambda done: None
  )
  positive = recap.is_positive(
    found.advantage[buffer.starts], buffer.source[buffer.starts], learner.settings
  )
  np.testing.assert_array_equal(found.tag[buffer.starts] == POSITIVE, positive)
  np.testing.assert_array_equal(found.tag[buffer.starts] == NEGATIVE, ~positive)
  assert found.tag[14] == NONE  # the last step before the cut starts no chunk
  np.testing.assert_array_equal(found.weight[buffer.starts], 1)
  numbers = chunk_weights.diagnostics(found, buffer, learner.settings)
  shares = {name for name in numbers if name.startswith('positive')}
  assert shares == {'positive_demo', 'positive_policy', 'positive_human'}
  assert (numbers['positive_human'], numbers['positive_policy']) == (1.0, pytest.approx(4 / 9))
  deviation = found.advantage[buffer.starts].std() / learner.settings.reward_scale
  assert numbers['advantage_std'] == pytest.approx(deviation, rel=1e-5)


@pytest.mark.parametrize('discrete_state', [False, True])
def test_the_prompts_of_a_batch_tell_the_tags_that_are_not_dropped(discrete_state):
  encode = tokenizer.PromptTokenizer(tokenizer.Words(5000), 48, discrete_state)
  inputs = dataclasses.replace(INPUTS, tokenizer=encode, state_size=2)
  buffer = make_buffer(inputs)
  tag = np.resize(np.int8([POSITIVE, NEGATIVE]), len(buffer))
  tags = tags_lib.Tags(tag, drop=0.5)
  first, count, size = 3, 4, 8
  batch = buffer.actor_batches(7, first, count, size, buffer.starts, None, tags)
  plain = buffer.actor_batches(7, first, count, size, buffer.starts, None)
  np.testing.assert_array_equal(batch.action, plain.action)
  np.testing.assert_array_equal(batch.observation.proprio, plain.observation.proprio)
  proprio = buffer.observation(np.arange(len(buffer))).proprio
  told = []
  for n, b in np.ndindex(count, size):
    seen = jax.tree.map(lambda x, at=(n, b): x[at], batch.observation)
    row = int(np.flatnonzero((proprio == seen.proprio).all(axis=1))[0])
    prompt = 'and back' if row >= 15 else 'put it there'
    position = np.array([(first + n) * size + b])
    expected = types.Tag(int(tags.of(np.array([row]), 7, position)[0]))
    assert expected in (NONE, tag[row])
    tokens, mask = encode(prompt, seen.proprio[:2], expected)
    np.testing.assert_array_equal(seen.prompt_tokens, tokens)
    np.testing.assert_array_equal(seen.prompt_mask, mask)
    told.append(expected)
  assert set(told) == set(types.Tag)


# An actor that heeds them


def test_an_actor_that_was_taught_two_modes_acts_in_the_one_that_is_tagged_as_positive():
  # Of equal states, a chunk of ones is positive and one of minus ones is negative.
  learner = tiny.make_learner('recap', actor=tiny.make_actor(), optimizer=optax.adam(1e-2), ema=0.0)
  rng, updates, size = np.random.default_rng(0), 200, 64
  positive = rng.random((updates, size)) < 0.4
  tag = np.where(rng.random((updates, size)) < 0.3, NONE, np.where(positive, POSITIVE, NEGATIVE))
  table, masks = INPUTS.prompts(['put it'] * 3, None, list(types.Tag))
  sight = types.Sight(
    np.zeros((1, types.PROPRIO_SIZE), np.float32),
    np.ones((1, tiny.VIEWS, tiny.FEATURE), np.float32),
  )

  def repeated(x):
    return np.broadcast_to(x, (updates, size, *x.shape[1:]))

  batches = dataclasses.replace(
    tiny.make_actor_batches(rng, updates, size),
    observation=types.Observation(
      repeated(sight.state), table[tag], masks[tag], repeated(sight.features)
    ),
    action=np.where(positive, 1, -1)[..., None, None]
    * np.ones((tiny.HORIZON, tiny.ACTION), np.float32),
    valid=np.ones((updates, size, tiny.HORIZON), bool),
    weight=np.ones((updates, size), np.float32),
  )
  state, _ = jax.jit(learner.train_step)(tiny.make_state(learner), None, batches)

  many = jax.tree.map(lambda x: np.repeat(x, 200, axis=0), sight)
  act = jax.jit(policy_lib.Policy.act)

  def share_of_ones(guidance):
    policy = tiny.make_policy(
      params=state.actor_ema,
      actor=learner.networks.actor,
      inputs=INPUTS,
      guidance=guidance,
      flow_steps=5,
    )
    return (act(policy, many, jax.random.key(0)).mean(axis=(1, 2)) > 0).mean()

  untagged, tagged, guided = (share_of_ones(guidance) for guidance in (None, 1.0, 2.0))
  assert untagged == pytest.approx(0.4, abs=0.15)
  assert tagged > 0.9
  assert guided >= tagged


def test_critic_and_advantage_are_those_of_awr():
  ours, theirs = AGENTS['recap'], AGENTS['awr']
  assert (ours.critic, ours.critic_loss) == (theirs.critic, theirs.critic_loss)
  assert ours.advantage is theirs.advantage
