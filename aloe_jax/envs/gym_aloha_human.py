"""Somebody who leads both arms of gym-aloha by their grippers, from any state of the scene.

What each gripper is to do next follows from where things are now: open it above its thing, go
down, close, lift; then bring both together. Nothing is remembered, so that they can take over from
a policy at any time, and pick up again what was dropped. What they cannot do: get hold of a thing
that its arm does not reach, or that stands on its end.

People are of two kinds, see `people`: the hasty ones are quicker, grasp beside the middle of a
thing and do not grip as hard, so that it slips when the arm moves on.
"""

import math
from typing import Any

import mujoco
import numpy as np

from aloe_jax.envs import gym_aloha_arms as arms_lib
from aloe_jax.envs import people

X, UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])  # to the right, and up
MEET = np.array([0.0, 0.5, 0.25])  # where both arms come together, metres
ABOVE = 0.1  # metres above a thing from which a gripper goes down
APART = 0.09  # metres from `MEET` at which each arm waits for the other
BESIDE = 0.012  # metres beside the middle of a thing at which a gripper may go down
AT = 0.01  # metres at which it is there
HELD = 0.035  # metres from between the fingertips at which a thing can be held
DOWN, LEVEL = math.radians(60), math.radians(5)  # how far a gripper points down
OPEN = 1.0

# hasty, careful:
SPEED = (0.035, 0.02)  # metres a step of a gripper
TURNS = 0.2  # radians a step
AIM = (0.012, 0.0)  # metres beside the middle of a thing, towards the arm
SQUEEZE = (0.2, 1.0)  # how much narrower than a thing a gripper is told to close
# Metres a step, standard deviation. Shaking is how imitation sees the way back to where one should
# be; a peg, which is 2 cm thick, leaves less room for it.
NOISE = {'cube': (0.007, 0.006), 'peg': (0.005, 0.003)}

PATIENCE = 30  # steps without progress after which an operator takes over
PROGRESS = 0.01  # metres that count as progress

_HOME = {'left': np.array([1.0, 0.0, 0.0, 0.0]), 'right': np.array([0.0, 0.0, 0.0, 1.0])}


class Human:
  """One person, for one episode.

  Args:
    arms: of the robot.
    rng: what this person is like.
    inserts: whether the task is to put the peg into the socket, and not to hand a cube over.
    most: radians that a joint moves at most in a step.
  """

  def __init__(self, arms: arms_lib.Arms, rng: np.random.Generator, inserts: bool, most: float):
    careful = people.is_careful(rng)
    self._arms, self._rng, self._inserts, self._most = arms, rng, inserts, most
    self._speed, self._squeeze = SPEED[careful], SQUEEZE[careful]
    self._aim, self._noise = AIM[careful], NOISE['peg' if inserts else 'cube'][careful]
    self._patience = people.Patience(PATIENCE, PROGRESS)

  def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
    """The action [14] that moves both grippers on."""
    plans = self._insert(info) if self._inserts else self._hand_over(info)
    action = np.zeros(14)
    for side, (place, turn, grip) in plans.items():
      joints = info['command'][arms_lib.ARM[side]]
      here, turned = self._arms.gripper(side, joints)
      way = place - here
      here = here + way * min(1.0, self._speed / max(float(np.linalg.norm(way)), 1e-9))
      here += self._noise * self._rng.standard_normal(3)
      turned = arms_lib.towards(turned, turn, TURNS)
      move = self._arms.reach(side, joints, here, turned) - joints
      # All joints of an arm slow down together, so that it stays on its way.
      slower = min(1.0, self._most / max(float(np.abs(move).max()), 1e-9))
      action[arms_lib.ARM[side]] = slower * move
      action[arms_lib.GRIPPER[side]] = grip
    return action

  def alarmed(self, observation: Any, info: dict[str, Any]) -> bool:
    """Whether things have come no nearer to their end for a while."""
    return self._patience.is_lost(left(info, self._inserts))

  def _hand_over(self, info: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """The right arm picks the cube up, the left one takes it from there."""
    cube = info['things'][0]
    waiting = MEET - (APART + 0.06) * X
    across = arms_lib.turned(_HOME['left'], (1, 0, 0), math.pi / 2)  # fingers above and below
    if not is_held(info, 'right', cube):
      return {
        'right': self._pick(info, 'right', cube),
        'left': (waiting, across, OPEN),
      }
    level = arms_lib.turned(_HOME['right'], (0, 1, 0), LEVEL)
    right = MEET, level, self._closed(cube)
    if np.linalg.norm(info['grippers']['right'] - MEET) > 2 * AT + self._aim:
      return {'right': right, 'left': (waiting, across, OPEN)}
    there = np.linalg.norm(info['grippers']['left'] - cube[:3]) < 2 * AT
    return {'right': right, 'left': (cube[:3], across, 0.0 if there else OPEN)}

  def _insert(self, info: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Each arm picks its thing up; they meet, and the right one brings the peg into the socket."""
    things = dict(right=info['things'][0], left=info['things'][1])
    if not all(is_held(info, side, thing) for side, thing in things.items()):
      return {
        side: self._carry(side, things[side])
        if is_held(info, side, thing)
        else self._pick(info, side, thing)
        for side, thing in things.items()
      }
    plans = {side: self._carry(side, thing) for side, thing in things.items()}
    peg, socket = things['right'][:3], things['left'][:3]
    off = socket - peg
    place, turn, grip = plans['right']
    lifted = min(peg[2], socket[2]) > MEET[2] - 0.05
    if lifted:  # the peg goes where the socket is, and in once it is in line with it
      here = info['grippers']['right']
      step = -APART if np.linalg.norm(off[1:]) < 0.006 else max(0.0, 0.14 + off[0])
      place = here + np.array([step, off[1], off[2]])
      plans['right'] = place, turn, grip
    return plans

  def _carry(self, side: str, thing: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """To where the other arm comes, with what is held."""
    outwards = APART if side == 'right' else -APART
    turn = arms_lib.turned(_HOME[side], (0, 1, 0), DOWN)
    return MEET + outwards * X, turn, self._closed(thing)

  def _pick(
    self, info: dict[str, Any], side: str, thing: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, float]:
    """Place and turn of a gripper on its way to a thing, and how far it is open."""
    outwards = self._aim if side == 'right' else -self._aim
    place = thing[:3] + outwards * X
    turn = arms_lib.turned(_turn_of(side, thing, not self._inserts), (0, 1, 0), DOWN)
    here = info['grippers'][side]
    off = np.linalg.norm((here - place)[:2])
    if off > 3 * BESIDE and here[2] < place[2] + ABOVE / 2:
      return here + ABOVE * UP, turn, OPEN
    if off > BESIDE:
      return place + ABOVE * UP, turn, OPEN
    if here[2] - place[2] > AT:
      return place, turn, OPEN
    return place, turn, self._closed(thing)

  def _closed(self, thing: np.ndarray) -> float:
    return max(0.0, thing[7] - self._squeeze)


def is_held(info: dict[str, Any], side: str, thing: np.ndarray) -> bool:
  """Whether a gripper has closed on a thing [8]: place, turn, how far a gripper is open on it."""
  near = np.linalg.norm(info['grippers'][side] - thing[:3]) < HELD
  return bool(near and info['state'][arms_lib.GRIPPER[side]] < thing[7] + 0.06)


def left(info: dict[str, Any], inserts: bool) -> float:
  """Metres that grippers and things still have to go, about."""
  things, grippers = info['things'], info['grippers']
  right = np.linalg.norm(grippers['right'] - things[0][:3])
  if inserts:
    other = np.linalg.norm(grippers['left'] - things[1][:3])
    return float(right + other + np.linalg.norm(things[0][:3] - things[1][:3]))
  return float(right + 2 * np.linalg.norm(grippers['left'] - things[0][:3]))


def _turn_of(side: str, thing: np.ndarray, is_cube: bool) -> np.ndarray:
  """The turn [4] of a level gripper whose fingers are along the sides of a thing."""
  w, x, y, z = thing[3:7]
  yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
  # A cube looks the same after a quarter turn, a bar after half of one.
  period = math.pi / 2 if is_cube else math.pi
  yaw = (yaw + period / 2) % period - period / 2
  about = np.array([math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])
  turn = np.zeros(4)
  mujoco.mju_mulQuat(turn, about, _HOME[side])
  return turn
