"""The robot's side of aloe_jax: no JAX, three small dependencies, Python 3.9 and later."""

from aloe_client.connection import Connection
from aloe_client.connection import LostServerError
from aloe_client.connection import ServerError
from aloe_client.connection import UnfitServerError
from aloe_client.episode_files import LockedError
from aloe_client.episode_writer import FullDiskError
from aloe_client.recorder import Recorder
from aloe_client.robot import Part
from aloe_client.robot import Robot

__all__ = [
  'Connection',
  'FullDiskError',
  'LockedError',
  'LostServerError',
  'Part',
  'Recorder',
  'Robot',
  'ServerError',
  'UnfitServerError',
]
