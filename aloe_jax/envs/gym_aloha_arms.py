"""The two arms of gym-aloha: where their grippers are, and which joints bring them elsewhere.

Legend: an arm's joints [6] are in radians, a place [3] in metres, a turn is a quaternion [4].
"""

from typing import Any

import mujoco
import numpy as np

SIDES = ('left', 'right')
TRIES = 3
LEVER = 0.2  # metres that a turn of one radian counts for
DAMPING = 0.03  # metres a radian
# Of the 14 numbers of a state or an action.
ARM = {'left': slice(0, 6), 'right': slice(7, 13)}
GRIPPER = {'left': 6, 'right': 13}
_IN_QPOS = {'left': slice(0, 6), 'right': slice(8, 14)}  # a gripper is two fingers there


def turned(quaternion: np.ndarray, axis: tuple[float, float, float], angle: float) -> np.ndarray:
  """A turn [4], and after it another by `angle` radians about an axis of the turned thing."""
  more, both = np.zeros(4), np.zeros(4)
  mujoco.mju_axisAngle2Quat(more, np.array(axis), angle)
  mujoco.mju_mulQuat(both, np.asarray(quaternion, np.float64), more)
  return both


def towards(start: np.ndarray, end: np.ndarray, most: float) -> np.ndarray:
  """The turn [4] on the way from one to another that is at most `most` radians along it."""
  way = np.zeros(3)
  mujoco.mju_subQuat(way, np.asarray(end, np.float64), np.asarray(start, np.float64))
  angle = np.linalg.norm(way)
  moved = np.array(start, np.float64)
  mujoco.mju_quatIntegrate(moved, way, min(1.0, most / max(float(angle), 1e-9)))
  return moved


class Arms:
  """Solves for joints on a copy of the robot, which does not move.

  Args:
    physics: of dm_control, of the robot.
  """

  def __init__(self, physics: Any):
    self._physics = physics.copy(share_model=True)
    model = physics.model
    names = [model.id2name(index, 'site') for index in range(model.nsite)]
    self._site = {side: names.index(f'cali_{side}_site1') for side in SIDES}

  def gripper(self, side: str, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place [3] between the fingertips of an arm with these joints, and its turn [4]."""
    data = self._physics.data
    data.qpos[_IN_QPOS[side]] = joints
    mujoco.mj_kinematics(self._physics.model.ptr, data.ptr)
    turn = np.zeros(4)
    mujoco.mju_mat2Quat(turn, data.site_xmat[self._site[side]])
    return data.site_xpos[self._site[side]].copy(), turn

  def reach(self, side: str, joints: np.ndarray, place: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The joints [6] that bring a gripper nearer to a place and a turn, if both are not far.

    Damped least squares: near a stretched arm or an aligned wrist, where a little way would take
    wild turns of the joints, it goes less of the way instead.

    Args:
      side: of the arm.
      joints: from which the search begins.
      place: [3] between the fingertips.
      turn: [4].
    """
    model, data = self._physics.model.ptr, self._physics.data.ptr
    found = np.array(joints, np.float64)
    shift, spin, left = np.zeros((3, model.nv)), np.zeros((3, model.nv)), np.zeros(3)
    for _ in range(TRIES):
      here, turned = self.gripper(side, found)
      mujoco.mj_comPos(model, data)
      mujoco.mj_jacSite(model, data, shift, spin, self._site[side])
      mujoco.mju_subQuat(left, np.asarray(turn, np.float64), turned)
      mujoco.mju_rotVecQuat(left, left.copy(), turned)  # as the world has it
      way = np.concatenate([place - here, LEVER * left])
      moves = np.vstack([shift, LEVER * spin])[:, _IN_QPOS[side]]
      found += moves.T @ np.linalg.solve(moves @ moves.T + DAMPING**2 * np.eye(6), way)
    return found
