"""Folding laundry: Table II of the paper, and the same task in the embedded simulator.

A garment in a rigid basket (35 x 24 cm) is taken out, flattened with both arms and folded. The
clothes lie in the box at random; a person resets the scene. A failure is an empty grasp or one of
several layers, shaking, folding before flattening, flattening again while folding, a collision
with the table, or no time left. The paper's BC succeeds in 15 % (Table IV).

The paper's robot (Table II) has two arms of 6 joints and a gripper: 14 numbers of an action, a
state that fills 32 numbers, cameras at the head and both wrists. What yours has, its data tell.
"""

from experiments import common


def get_config(variant: str = ''):
  """The experiment; see `common.VARIANTS` for what may follow the colon.

  On the robot, one RL iteration from what was collected (README, "Your robot in six commands"):

    python -m aloe_jax.train --config=experiments/laundry.py --workdir=runs/laundry \
      --config.data.episodes="('data/demonstrations/1.0.0', 'data/round_1/1.0.0')" \
      --config.actor.checkpoint=pi05_base --config.data.norm_stats=compute \
      --config.actor.tokenizer=paligemma_tokenizer.model

  In the simulator, on a laptop, 7 minutes:

    python -m aloe_jax.train --config=experiments/laundry.py:sim --workdir=runs/laundry
  """
  config = common.paper()
  config.task.update(
    prompt='Fold the t-shirt', max_steps=10_000, chunk=50, execute=5, demonstrations=150
  )
  return common.apply_variant(config, variant, sim_task='fold_laundry')
