"""Packing a smart phone: Table I of the paper, and the same task in the embedded simulator."""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  python -m aloe_jax.train --config=experiments/pack_phone.py:sim --workdir=runs/phone
  """
  config = common.paper()
  config.task.update(
    prompt='Place the phone in the container, then cover it with the lid',
    max_steps=2_000,
    chunk=50,
    execute=25,
    demonstrations=50,
  )
  return common.apply_variant(config, variant, sim_task='pack_phone')
