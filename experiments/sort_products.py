"""Sorting products: Table III of the paper, and the same task in the embedded simulator.

Two bins are emptied onto the conveyor belt in front, each by the arm of its side; the objects lie
in them at random, and a person resets the scene. A failure is a gripper in the wrong place, an
empty grasp, squeezing or hitting another object, hitting the bin, letting go in the air, a
collision while placing, or no time left. The paper's BC succeeds in 5 % (Table IV).

The paper's robot (Table III) has two arms of 6 joints and a gripper: 14 numbers of an action, a
state that fills 32 numbers, cameras at the head and both wrists. What yours has, its data tell.
"""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  On the robot as in `laundry`. In the simulator, on a laptop:

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
