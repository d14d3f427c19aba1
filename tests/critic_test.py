"""The critic against the same network in NumPy, and what may and may not change its values."""

import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax.models import attention
from aloe_jax.models import critic

pytestmark = pytest.mark.usefixtures('quick_compilation')

BATCH = 4


def make_inputs(seed=0):
  rng = np.random.default_rng(seed)
  return dict(
    features=tiny.normal(rng, BATCH, tiny.VIEWS, tiny.FEATURE),
    proprio=tiny.normal(rng, BATCH, 32),
    action=tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION),
    valid=np.arange(tiny.HORIZON) < np.array([[3], [2], [1], [3]]),
  )


@functools.cache
def compiled(module):
  return jax.jit(module.apply, static_argnames='queries')


def evaluate(module, params, **inputs):
  return np.asarray(compiled(module)(params, **inputs))


# The network of App. C.2 for one state, in NumPy.


def dense(p, x):
  return x @ p['kernel'] + p['bias']


def norm(p, x):
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p['scale'] + p['bias']


def gelu(x):
  return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def projection(p, x):
  return dense(p['out'], gelu(dense(p['hidden'], x)))


def block(p, x, attendable, heads):
  y = norm(p['attention_norm'], x)
  query, key, value = (dense(p[name], y) for name in ('query', 'key', 'value'))
  attended = np.zeros_like(x)
  for part in np.split(np.arange(x.shape[1]), heads):
    for t in range(len(x)):
      logits = key[attendable][:, part] @ query[t, part] / np.sqrt(len(part))
      share = np.exp(logits - logits.max())
      attended[t, part] = share / share.sum() @ value[attendable][:, part]
  x = x + dense(p['out'], attended)
  y = dense(p['mlp']['hidden'], norm(p['mlp_norm'], x))
  return x + dense(p['mlp']['out'], gelu(y))


def q_values(params, features, proprio, action, valid, heads=2):
  """Q of each ensemble member, [K], for one state and chunk."""
  trunk, head = params['params']['transformer'], params['params']['heads']
  tokens = [
    trunk['readout'],
    projection(trunk['proprio'], proprio)[None],
    projection(trunk['action'], action),
    projection(trunk['features'], features),
  ]
  x = np.concatenate(tokens) + trunk['position']
  ensemble = len(trunk['readout'])
  attendable = np.ones(len(x), bool)
  attendable[ensemble + 1 : ensemble + 1 + len(action)] = valid
  for layer in range(2):
    x = block(trunk[f'layer_{layer}'], x, attendable, heads)
  q = []
  for k in range(ensemble):
    own = jax.tree.map(lambda leaf, k=k: leaf[k], head)
    q.append(dense(own['out'], gelu(dense(own['hidden'], norm(own['norm'], x[k])))))
  return np.concatenate(q)


def test_it_is_the_network_of_the_paper_written_out_in_numpy():
  module, inputs = tiny.make_critic(depth=2), make_inputs()
  params = tiny.make_params(module, *inputs.values())
  expected = [
    q_values(params, *(inputs[name][b] for name in ('features', 'proprio', 'action', 'valid')))
    for b in range(BATCH)
  ]
  np.testing.assert_allclose(evaluate(module, params, **inputs).T, expected, rtol=2e-5, atol=2e-5)


def test_with_the_sizes_of_the_paper_it_has_56_tokens_of_256_in_6_layers_of_8_heads():
  module = critic.Critic(ensemble=2, horizon=50)
  shapes = jax.eval_shape(
    module.init,
    jax.random.key(0),
    jnp.zeros((1, 3, 1152)),
    jnp.zeros((1, 32)),
    jnp.zeros((1, 50, 14)),
    jnp.ones((1, 50), bool),
  )
  trunk = shapes['params']['transformer']
  assert trunk['position'].shape == (56, 256)
  assert sum(name.startswith('layer_') for name in trunk) == 6
  assert module.heads == 8


def test_actions_past_the_end_of_the_fragment_cannot_change_q():
  module, inputs = tiny.make_critic(), make_inputs()
  params = tiny.make_params(module, *inputs.values())
  noise = tiny.normal(np.random.default_rng(2), *inputs['action'].shape)
  padded = np.where(inputs['valid'][..., None], inputs['action'], 100 * noise)
  np.testing.assert_array_equal(
    evaluate(module, params, **inputs), evaluate(module, params, **inputs | {'action': padded})
  )


@pytest.mark.parametrize('step', range(tiny.HORIZON))
def test_every_valid_action_changes_every_q(step):
  module, inputs = tiny.make_critic(), make_inputs()
  params = tiny.make_params(module, *inputs.values())
  changed = inputs['action'].copy()
  changed[:, step] += 1
  before = evaluate(module, params, **inputs)
  after = evaluate(module, params, **inputs | {'action': changed})
  expected = np.broadcast_to(inputs['valid'][:, step], before.shape)
  np.testing.assert_array_equal(after != before, expected)


def test_actions_past_the_critics_horizon_cannot_change_q():
  inputs = make_inputs() | {'valid': np.ones((BATCH, tiny.HORIZON), bool)}
  module = tiny.make_critic(horizon=2)
  params = tiny.make_params(module, *inputs.values())
  changed = inputs['action'].copy()
  changed[:, 2:] = 100
  q = evaluate(module, params, **inputs)
  np.testing.assert_array_equal(q, evaluate(module, params, **inputs | {'action': changed}))
  short = {'action': inputs['action'][:, :2], 'valid': inputs['valid'][:, :2]}
  np.testing.assert_array_equal(q, evaluate(module, params, **inputs | short))


def test_the_last_layer_may_leave_out_the_tokens_nobody_reads():
  rng = np.random.default_rng(0)
  x, mask = tiny.normal(rng, BATCH, 7, 8), np.arange(7) < np.array([[7], [5], [3], [6]])
  module = attention.Block(heads=2)
  params = tiny.make_params(module, x, mask)
  np.testing.assert_allclose(
    evaluate(module, params, x=x, mask=mask, queries=2),
    evaluate(module, params, x=x, mask=mask)[:, :2],
    atol=1e-6,
  )


def reached(module):
  """{path of a parameter: whether the gradient of q[0] reaches it, per leading index}."""
  inputs = make_inputs()
  params = tiny.make_params(module, *inputs.values())
  gradient = jax.jit(jax.grad(lambda p: module.apply(p, **inputs)[0].sum()))(params)
  flat = traverse_util.flatten_dict(gradient, sep='/')
  return {path: np.abs(leaf).reshape(len(leaf), -1).max(1) > 0 for path, leaf in flat.items()}


def test_each_member_has_a_head_of_its_own_on_a_shared_transformer():
  for path, reach in reached(tiny.make_critic()).items():
    if '/heads/' in path:
      np.testing.assert_array_equal(reach, [True, False], path)
    elif not path.endswith(('key/bias', 'readout')):  # softmax cancels a shift of every key
      assert reach.any(), path


def test_members_of_a_full_ensemble_share_nothing():
  for path, reach in reached(tiny.make_critic(critic.FullEnsemble)).items():
    assert not reach[1], path
    assert reach[0] or path.endswith('key/bias'), path


@pytest.mark.parametrize('kind, path', [(critic.Critic, ()), (critic.FullEnsemble, ('members',))])
def test_members_start_from_different_parameters(kind, path):
  def initial_heads():
    params = tiny.make_critic(kind).init(jax.random.key(0), **make_inputs())['params']
    return functools.reduce(dict.get, [*path, 'heads', 'out', 'kernel'], params)

  kernel = jax.jit(initial_heads)()
  assert len(kernel) == 2
  assert np.abs(kernel[0] - kernel[1]).min() > 1e-4


def test_a_prompt_adds_one_token_and_changes_q():
  module = tiny.make_critic()
  inputs = make_inputs() | {'prompt': 5 * np.eye(BATCH, 5, dtype=np.float32)}
  params = tiny.make_params(module, *inputs.values())
  without = {name: value for name, value in inputs.items() if name != 'prompt'}
  tokens = {
    len(p['params']['transformer']['position'])
    for p in (params, tiny.make_params(module, *without.values()))
  }
  assert tokens == {2 + 1 + tiny.HORIZON + tiny.VIEWS, 2 + 1 + tiny.HORIZON + tiny.VIEWS + 1}
  other = inputs | {'prompt': np.roll(inputs['prompt'], 1, axis=1)}
  assert np.abs(evaluate(module, params, **inputs) - evaluate(module, params, **other)).min() > 1e-5


def test_the_value_critic_gives_one_logit_per_bin_and_sees_no_action():
  module = critic.ValueCritic(bins=5, width=8, depth=1, heads=2)
  inputs = {name: make_inputs()[name] for name in ('features', 'proprio')}
  params = tiny.make_params(module, *inputs.values())
  assert 'action' not in params['params']['transformer']
  logits = evaluate(module, params, **inputs)
  assert logits.shape == (BATCH, 5)
  one = {name: value[:1] for name, value in inputs.items()}
  np.testing.assert_allclose(evaluate(module, params, **one)[0], logits[0], atol=1e-5)
