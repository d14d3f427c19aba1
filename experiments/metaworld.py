"""Meta-World's manipulation tasks (McLean et al., 2025): a Sawyer arm, with a scripted human.

A failure is a thing that is dropped or lost, or no time left. What is Meta-World's and what was
added is said in `aloe_jax/envs/metaworld_task.py`. Needs a MuJoCo of its own, see
`docs/simulators.md`.
"""

from experiments import away

TASKS = {  # variant: Meta-World's task, steps of an episode, what the robot is told
  'pick_place': ('pick-place-v3', 120, 'Pick the puck up and bring it to its place'),
  'push': ('push-v3', 120, 'Push the puck to its place'),
  'pick_place_wall': ('pick-place-wall-v3', 150, 'Bring the puck over the wall to its place'),
  'hand_insert': ('hand-insert-v3', 100, 'Put the block into the hole'),
  'shelf_place': ('shelf-place-v3', 150, 'Put the block on the shelf'),
  'peg_insert': ('peg-insert-side-v3', 160, 'Put the peg into the hole'),
}
# So few that imitation leaves something to learn: with 25, it does pick_place 9 times of 10.
DEMONSTRATIONS = dict.fromkeys(TASKS, 5) | dict(pick_place=10)


def get_config(variant: str = 'pick_place'):
  """The experiment; one of `TASKS` may follow the colon.

  python -m aloe_jax.train --config=experiments/metaworld.py:push --workdir=runs/push
  """
  demonstrations = DEMONSTRATIONS.get(variant, 0)  # tests have their own
  return away.config(variant, TASKS, 'metaworld', control_hz=80.0, demonstrations=demonstrations)
