"""Packing a smart phone: Table I of the paper, and the same task in the embedded simulator.

The phone goes into its container and the lid onto it; both are moved by up to 3 cm in x and y
between episodes, and a person resets the scene. A failure is a drop, an insertion that misses or
does damage, or no time left. The paper's BC succeeds in 5 % (Table IV).

The paper's robot (Table I) has two arms of 6 joints and a gripper: 14 numbers of an action, a
state that fills 32 numbers, cameras at the head and both wrists. What yours has, its data tell.
"""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  On the robot as in `laundry`. In the simulator, on a laptop:

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
