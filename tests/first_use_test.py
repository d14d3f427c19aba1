"""In which type parameters are read first, and that rounding them beforehand changes no bit."""

import contextlib

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robot
import tiny

from aloe_jax.learning import action_bank
from aloe_jax.models import first_use
from aloe_jax.parallel import host_memory
from aloe_jax.run import experiment
from aloe_jax.run import policy_actions

pytestmark = pytest.mark.usefixtures('quick_compilation')

HALF, SINGLE = jnp.dtype('bfloat16'), jnp.dtype('float32')


def half(x):
  return x.astype(HALF)


def stacked(params):
  """Layers one after another, the weight of each rounded inside a loop and a checkpoint."""

  @jax.checkpoint
  def layer(x, weight):
    return jnp.tanh(x @ half(weight)), x

  return jax.lax.scan(layer, jnp.ones((2, 3), HALF), params)


def counted(params):
  """A loop whose length is not known when it is traced, over a weight of the outside."""
  return jax.lax.while_loop(lambda x: jnp.sum(x) < 9, lambda x: x @ half(params), jnp.ones((1, 3)))


@pytest.mark.parametrize(
  'function, expected',
  [
    (lambda w: half(w) @ half(w), HALF),
    (lambda w: half(w[1]) + half(w.reshape(9)[3]) + half(jnp.take(w, 2, axis=0).T), HALF),
    (jax.jit(lambda w: half(w.T)), HALF),
    (counted, HALF),
    (lambda w: stacked(w[None])[0], HALF),
    (lambda w: w @ w, SINGLE),
    (lambda w: half(w) + half(w * 2), SINGLE),
    (lambda w: (half(w), w), SINGLE),
    (lambda w: (half(w), w.astype('float16')), SINGLE),
    (lambda w: w.astype('int8'), SINGLE),
    (lambda w: jax.lax.fori_loop(0, 3, lambda _, x: half(x).astype(SINGLE), w), SINGLE),
    (lambda w: jax.lax.cond(True, half, half, w), SINGLE),
    (lambda w: stacked(w[None] + 1)[0], SINGLE),
    (lambda w: jnp.ones(3), None),
    (lambda w: jnp.shape(w), None),
  ],
)
def test_the_type_is_what_every_use_rounds_to(function, expected):
  assert first_use.types(function, jax.ShapeDtypeStruct((3, 3), SINGLE)) == expected


def test_what_is_rounded_in_two_places_keeps_its_type_where_gradients_are_added_up():
  def twice(w):
    return half(w[0]) + half(w[1])

  w = jax.ShapeDtypeStruct((3, 3), SINGLE)
  assert first_use.types(twice, w) == HALF
  assert first_use.types(twice, w, once=True) == SINGLE
  assert first_use.types(lambda w: half(w), w, once=True) == HALF


def test_only_parameters_are_told_of_and_each_by_itself():
  def function(params, x):
    return half(params['a']) @ x, params['b']

  params = {'a': jnp.ones((3, 3)), 'b': jnp.ones(3), 'c': jnp.ones(2)}
  kinds = first_use.types(function, params, jnp.ones((3, 3)))
  assert kinds == {'a': HALF, 'b': SINGLE, 'c': None}
  rounded = first_use.rounded(params, kinds)
  assert {name: x.dtype for name, x in rounded.items()} == {'a': HALF, 'b': SINGLE, 'c': SINGLE}


def test_what_is_in_half_precision_already_stays():
  assert first_use.types(lambda w: w @ w, jnp.ones((3, 3), HALF)) == HALF
  assert first_use.types(lambda w: w.astype(SINGLE), jnp.ones((3, 3), HALF)) == HALF


class Dense(nn.Module):
  """A network that somebody else wrote: a matrix in half precision and a norm."""

  @nn.compact
  def __call__(self, x):
    return nn.RMSNorm()(nn.Dense(4, dtype=HALF)(x))


def test_a_network_of_flax_needs_no_list():
  x = jnp.ones((2, 3))
  params = Dense().init(jax.random.key(0), x)
  kinds = first_use.types(Dense().apply, params, x)['params']
  assert kinds == {'Dense_0': {'bias': HALF, 'kernel': HALF}, 'RMSNorm_0': {'scale': SINGLE}}


class Layers(nn.Module):
  """Two layers of somebody's network, one after another."""

  dtype = HALF

  @nn.compact
  def __call__(self, x):
    layers = nn.scan(nn.remat(Layer), variable_axes={'params': 0}, split_rngs={'params': True})
    return layers()(x, jnp.zeros(2))[0].astype(SINGLE).sum()


class Layer(nn.Module):
  """x plus what a dense layer makes of it."""

  @nn.compact
  def __call__(self, x, _):
    return x + jnp.tanh(nn.Dense(3, dtype=HALF)(x)), None


def test_gradients_are_those_of_parameters_that_are_rounded_in_every_layer():
  x = jnp.linspace(-1, 1, 12).reshape(4, 3).astype(HALF)
  params = Layers().init(jax.random.key(0), x)

  def ahead(params):
    return Layers().apply(first_use.rounded_for(Layers(), params, x), x)

  def stacks(function):
    traced = jax.make_jaxpr(jax.grad(function))(params)
    return str(traced).count(':bf16[2,3,3]')

  def within(params):
    return Layers().apply(params, x)

  assert (stacks(within), stacks(ahead)) == (0, 2)  # of the parameter and of its gradient
  found, expected = jax.jit(jax.grad(ahead))(params), jax.jit(jax.grad(within))(params)
  assert {x.dtype for x in jax.tree.leaves(found)} == {SINGLE}
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def make_policy(dtype, **changes):
  """The smallest π0.5 and the shapes of its weights."""
  made = experiment.Experiment(robot.make_config(actor__dtype=dtype, **changes))
  params = jax.eval_shape(lambda: made.learner(1.0).init_actor(0, made.example()))
  return made, made.policy(params, made.inputs(None), None, None)


def test_a_policy_in_bfloat16_draws_the_same_chunks_from_parameters_that_were_rounded_before():
  lora = dict(actor__lora__language=2, actor__lora__expert=2, actor__train='vision+lora')
  made, policy = make_policy('bfloat16', **lora)
  observation = made.example().observation
  rng = np.random.default_rng(0)
  noise = tiny.normal(rng, 1, 2, *policy.chunk_shape[:1], policy.actor.action_size)
  # Random, and no numbers of bfloat16.
  params = jax.tree.map(lambda x: 0.1 * tiny.normal(rng, *x.shape), policy.params)

  policy = policy.replace(params=jax.tree.map(jnp.asarray, params))
  rounded = policy.rounded(observation)
  leaves = jax.tree.leaves(rounded.params)
  halves = sum(x.size for x in leaves if x.dtype == HALF)
  table = params['params']['PaliGemma']['llm']['embedder']['input_embedding'].size
  assert halves > 0.9 * (sum(x.size for x in leaves) - table)
  sample = jax.jit(type(policy).sample)
  chunks, expected = (sample(each, observation, noise) for each in (rounded, policy))
  assert np.isfinite(chunks).all() and np.std(chunks) > 0.1
  np.testing.assert_array_equal(chunks, expected)


def test_a_policy_in_float32_is_read_as_it_is():
  made, policy = make_policy('float32')
  observation = made.example().observation
  assert policy.rounded(observation) is policy
  noise = np.zeros((1, 1, *policy.chunk_shape[:1], policy.actor.action_size), np.float32)
  kinds = first_use.types(
    lambda params, *given: policy.replace(params=params).sample(*given),
    policy.params,
    observation,
    noise,
  )
  assert set(jax.tree.leaves(kinds)) == {SINGLE}


@pytest.mark.parametrize('apart', [True, False])
def test_a_bank_is_drawn_from_rounded_parameters_where_devices_have_memory_of_their_own(
  apart, monkeypatch, tmp_path
):
  made, policy = make_policy('bfloat16')
  policy = policy.replace(params=jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), policy.params))
  told = {}
  monkeypatch.setattr(host_memory, 'is_apart', lambda: apart)
  monkeypatch.setattr(action_bank, 'draw', lambda drawn, *_, **__: told.update(drawn=drawn.params))

  def aside(asked):
    told['asked'] = asked
    return contextlib.nullcontext()

  with contextlib.suppress(AttributeError):  # there is no bank to look at
    policy_actions.PolicyActions(made, tmp_path).bank(
      1, lambda: policy, Buffer(made), 'd', fingerprint=lambda: 'f', drawn_by=1, aside=aside
    )
  assert told['drawn'] is told['asked']
  found = {x.dtype for x in jax.tree.leaves(told['drawn'])}
  assert found == ({HALF, SINGLE} if apart else {SINGLE})


class Buffer:
  """Of one state."""

  def __init__(self, made):
    self._made = made

  def __len__(self):
    return 1

  def observation(self, rows, images):
    return self._made.example().observation
