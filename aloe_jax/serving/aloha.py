"""ALOHA's joints and grippers as π0 and π0.5 were pre-trained on them, and back.

openpi's server does this to the numbers of an ALOHA robot before and after the policy
(`adapt_to_pi`); constants and formulas are those of its aloha_policy.py. Two joints of each arm
turn the other way. A gripper is told as an angle: the robot gives how far it is open, 0 to 1 of
the fingers' travel, and takes what the motor's angle is between 0 and 1 of its own.

Numbers are those of both arms: 6 joints and a gripper, left before right.
"""

import numpy as np

SIZE = 14
_FLIPPED = np.array([1, -1, -1, 1, 1, 1, 1] * 2, np.float32)
_GRIPPERS = [6, 13]
_FINGERS = 0.01844, 0.05800  # metres, closed and open
_ARM, _HORN = 0.036, 0.022  # metres, of the crank that moves the fingers
_ANGLES = 0.5476, 1.6296  # radians that pre-training knew as 0 and 1
_MOTOR = -0.6213, 1.4910  # radians that the robot takes as 0 and 1


def state_to_policy(state: np.ndarray) -> np.ndarray:
  """A state [..., 14] of the robot as the policy knows it."""
  adapted = _FLIPPED * state
  metres = state[..., _GRIPPERS] * (_FINGERS[1] - _FINGERS[0]) + _FINGERS[0]
  sine = (_HORN**2 + metres**2 - _ARM**2) / (2 * _HORN * metres)
  angle = np.arcsin(np.clip(sine, -1, 1))
  adapted[..., _GRIPPERS] = (angle - _ANGLES[0]) / (_ANGLES[1] - _ANGLES[0])
  return adapted.astype(np.float32)


def action_to_robot(action: np.ndarray) -> np.ndarray:
  """Actions [..., 14] of the policy as the robot takes them."""
  adapted = _FLIPPED * action
  angle = action[..., _GRIPPERS] + _ANGLES[0]
  adapted[..., _GRIPPERS] = (angle - _MOTOR[0]) / (_MOTOR[1] - _MOTOR[0])
  return adapted.astype(np.float32)


def action_to_policy(action: np.ndarray) -> np.ndarray:
  """The inverse of `action_to_robot`."""
  adapted = _FLIPPED * action
  motor = action[..., _GRIPPERS] * (_MOTOR[1] - _MOTOR[0]) + _MOTOR[0]
  adapted[..., _GRIPPERS] = motor - _ANGLES[0]
  return adapted.astype(np.float32)
