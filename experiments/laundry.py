"""Folding laundry: Table II of the paper, and the same task in the embedded simulator."""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  python -m aloe_jax.train --config=experiments/laundry.py:sim --workdir=runs/laundry
  """
  config = common.paper()
  config.task.update(
    prompt='Fold the t-shirt', max_steps=10_000, chunk=50, execute=5, demonstrations=150
  )
  return common.apply_variant(config, variant, sim_task='fold_laundry')
