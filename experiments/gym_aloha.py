"""gym-aloha's two-armed tasks (Zhao et al., 2023): 14 joints and grippers, with a scripted human.

A failure is a thing that is dropped or lost, or no time left. What is gym-aloha's and what was
added is said in `aloe_jax/envs/gym_aloha_task.py`. Needs a MuJoCo of its own, see
`docs/simulators.md`.
"""

from experiments import away

TASKS = {  # variant: gym-aloha's task, steps of an episode, what the robot is told
  'transfer_cube': ('transfer_cube', 120, 'Hand the cube over to the left arm'),
  'insertion': ('insertion', 120, 'Put the peg into the socket'),
}


def get_config(variant: str = 'transfer_cube'):
  """The experiment; one of `TASKS` may follow the colon.

  python -m aloe_jax.train --config=experiments/gym_aloha.py:insertion --workdir=runs/insertion
  """
  return away.config(variant, TASKS, 'gym_aloha', control_hz=12.5, demonstrations=50)
