"""A robot's program in a terminal: python terminal_robot.py DIR [raise|alone]."""

import pathlib
import sys
import threading
import time

import robot_clock

from aloe_client import terminal


def main():
  directory = pathlib.Path(sys.argv[1])
  human = None if 'alone' in sys.argv else lambda seen: seen['state']
  recorder, clock, _ = robot_clock.recorder(directory, human=human)
  with recorder, terminal.controls(recorder) as keys:
    if 'raise' in sys.argv:
      raise RuntimeError('a robot that falls over')
    if not keys.active:
      return
    step = 0
    while keys.wait():
      while recorder.recording:
        robot_clock.play(recorder, clock, 1, start=step)
        step += 1
        time.sleep(0.01)
  print('THE END', threading.active_count())


if __name__ == '__main__':
  main()
