"""What a critic says of every chunk, held against one chunk at a time."""

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import awr
from aloe_jax.data import replay
from aloe_jax.reporting import judgement

pytestmark = pytest.mark.usefixtures('quick_compilation')

NONE, SUCCESS, FAILURE = types.EndReason.NONE, types.EndReason.SUCCESS, types.EndReason.FAILURE
CUT, POLICY = types.EndReason.CUT, types.Source.POLICY
SCALE = tiny.SETTINGS['reward_scale']


def make_buffer():
  """Fragments of 8, 5 and 6 steps; the last one goes on unseen."""
  rng = np.random.default_rng(0)
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, discount=0.9, fail_cost=5.0)
  episodes = [
    tiny.make_episode(rng, [NONE] * 7 + [SUCCESS]),
    tiny.make_episode(rng, [NONE] * 4 + [FAILURE], source=POLICY),
    tiny.make_episode(rng, [NONE] * 5 + [CUT], source=POLICY),
  ]
  return replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking)


def judge(learner, buffer, rows, actions, batch_size=4, told=None):
  params = tiny.make_state(learner).critic
  progress = (told if told is not None else []).append
  found = judgement.judge(
    learner, params, buffer, rows, actions, batch_size=batch_size, progress=progress
  )
  return params, found


def test_chunks_are_judged_where_the_policy_plans_them():
  rows = judgement.planned(make_buffer(), execute=2)
  np.testing.assert_array_equal(rows, [0, 2, 4, 6, 8, 10, 12, 13, 15, 17])


def test_the_policy_is_asked_where_chunks_begin_and_where_their_targets_bootstrap():
  buffer = make_buffer()
  # From row 4 on 3 steps lead to row 7; from 17 one leads to 18, the last that was recorded.
  np.testing.assert_array_equal(judgement.states(buffer, np.array([4, 17])), [4, 7, 17, 18])
  np.testing.assert_array_equal(judgement.states(buffer, np.array([6])), [6])  # ends for good


@pytest.mark.parametrize(
  'past_end, batch_size', [('executed', 4), ('executed', 100), ('policy', 4)]
)
def test_an_action_critic_judges_every_chunk_as_if_it_were_alone(past_end, batch_size):
  learner, buffer = tiny.make_learner(past_end=past_end), make_buffer()
  buffer.continue_ended()
  rows = judgement.planned(buffer, execute=2)
  asked = judgement.states(buffer, rows)
  rng = np.random.default_rng(1)
  actions = tiny.normal(rng, len(asked), 3, tiny.HORIZON, tiny.ACTION)
  told = []
  params, found = judge(learner, buffer, rows, actions, batch_size, told)
  assert told[-1] == len(rows) + len(asked)
  value = judgement.values(
    learner, params, buffer, rows, actions[np.searchsorted(asked, rows)], batch_size=batch_size
  )
  np.testing.assert_allclose(value, found.v, rtol=1e-5)
  critic = learner.networks.critic

  def sampled_q(row):
    at = asked.tolist().index(row)
    q = action_critic.evaluate_samples(
      critic, params, buffer.observation(np.array([row])), actions[[at]], reads_prompt=False
    )
    return np.asarray(q)[:, :, 0]  # [K, M]

  for index, row in enumerate(rows):
    batch, chunk = buffer.actor_batch(np.array([row])), buffer.transitions(np.array([row]))
    own = sampled_q(row)
    plan = actions[[asked.tolist().index(row)]]
    action, valid = action_critic.read(batch, plan, learner.settings)
    q = np.asarray(
      action_critic.evaluate(critic, params, batch.observation, action, valid, reads_prompt=False)
    )[:, 0]
    target = chunk.reward[0]
    if chunk.discount[0]:
      target += chunk.discount[0] * sampled_q(chunk.next_row[0]).mean()
    expected = {
      'q': q,
      'sampled_q': own.mean(axis=1),
      'score': q.min(),
      'v': own.min(axis=0).mean(),
      'advantage': q.min() - own.min(axis=0).mean(),
      'td_error': target - q.mean(),
      'returns': batch.returns[0],
    }
    for name, value in expected.items():
      np.testing.assert_allclose(
        getattr(found, name)[..., index], value / SCALE, rtol=1e-4, atol=1e-5, err_msg=name
      )


def test_where_each_chunk_stands_in_its_fragment():
  learner, buffer = tiny.make_learner('awr'), make_buffer()
  _, found = judge(learner, buffer, np.array([2, 10, 17]), None)
  np.testing.assert_array_equal(found.first, [0, 8, 13])
  np.testing.assert_array_equal(found.age, [2, 2, 4])
  np.testing.assert_array_equal(found.left, [5, 2, 1])
  np.testing.assert_array_equal(found.end, [SUCCESS, FAILURE, CUT])
  np.testing.assert_array_equal(found.terminal, [True, True, False])
  # Two steps and then the failure of 5: -1 - 0.9 - 0.81 * 5.
  assert found.returns[1] == pytest.approx((-1 - 0.9 - 0.81 * 5) * chunk_unit(buffer), rel=1e-5)


def chunk_unit(buffer):
  """The buffer and the learner of these tests scale rewards differently."""
  return buffer.chunking.reward_scale / SCALE


@pytest.mark.parametrize('name', ['awr', 'recap'])
def test_a_critic_of_states_scores_states(name):
  learner, buffer = tiny.make_learner(name), make_buffer()
  rows = judgement.planned(buffer, execute=2)
  params, found = judge(learner, buffer, rows, None)
  batch = buffer.actor_batch(rows)
  critic, settings = learner.networks.critic, learner.settings
  value = np.asarray(awr.state_value(critic, params, batch.observation, settings)) / SCALE
  np.testing.assert_allclose(found.score, value, rtol=1e-4)
  expected = learner.agent.advantage(params, batch, None, critic=critic, settings=settings)
  np.testing.assert_allclose(found.advantage, np.asarray(expected) / SCALE, rtol=1e-3, atol=1e-5)
  assert found.q is None
