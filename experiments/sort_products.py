"""Sorting products: Table III of the paper, and the same task in the embedded simulator."""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  python -m aloe_jax.train --config=experiments/sort_products.py:sim --workdir=runs/sort
  """
  config = common.paper()
  config.task.update(
    prompt='Retrieve the objects from the front bin and place them onto the conveyor belt.',
    max_steps=10_000,
    chunk=50,
    execute=5,
    demonstrations=50,
  )
  return common.apply_variant(config, variant, sim_task='sort_products')
