"""What a scanned block keeps of its forward pass for the backward pass."""

from flax import linen as nn
import jax

POLICIES = {
  'full': jax.checkpoint_policies.nothing_saveable,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def apply(block: type[nn.Module], policy: str) -> type[nn.Module]:
  """A block of a scan that recomputes what the policy does not keep.

  Args:
    block: class of the block.
    policy: 'none' keeps everything, 'full' only the block's input, 'dots' also the results of
      its weights' matrix products.
  """
  if policy == 'none':
    return block
  return nn.remat(block, policy=POLICIES[policy], prevent_cse=False)
