"""What a block recomputes, counted in the program of its gradient."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax.models import remat

X = np.linspace(-1, 1, 4, dtype=np.float32)[None]


class Block(nn.Module):
  """Two matrix products with two sines between them."""

  @nn.compact
  def __call__(self, x, _):
    return nn.Dense(4)(jnp.sin(jnp.sin(nn.Dense(8)(x)))), None


@pytest.mark.parametrize(
  'policy, sines, products',
  [
    ('none', 2, 6),  # forward; each product has two in the backward pass
    ('full', 4, 7),  # both sines again and the first product; nothing asks for the second
    ('dots', 4, 6),  # the sines again
  ],
)
def test_each_policy_recomputes_what_it_does_not_keep(policy, sines, products):
  block = remat.apply(Block, policy)
  blocks = nn.scan(block, variable_axes={'params': 0}, split_rngs={'params': True}, length=2)()
  params = tiny.make_params(blocks, X, None)
  gradient = jax.grad(lambda p: jnp.sum(jnp.square(blocks.apply(p, X, None)[0])))
  program = str(jax.make_jaxpr(gradient)(params))
  assert (program.count('= sin '), program.count('= dot_general[')) == (sines, products)


def test_keeping_everything_leaves_the_block_as_it_is():
  assert remat.apply(Block, 'none') is Block
