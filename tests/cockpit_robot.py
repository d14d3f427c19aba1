"""A robot's program with a cockpit: python cockpit_robot.py DIR PORT; for `cockpit_test`."""

import pathlib
import sys
import time

import robot_clock

from aloe_client import cockpit


def main():
  recorder, clock, _ = robot_clock.recorder(pathlib.Path(sys.argv[1]))
  with recorder, cockpit.serve(recorder, port=int(sys.argv[2])) as page:
    step = 0
    while not page.stopped:
      if not recorder.recording:
        raise RuntimeError('an arm that is unplugged')
      robot_clock.play(recorder, clock, 1, start=step)
      step += 1
      time.sleep(0.01)


if __name__ == '__main__':
  main()
