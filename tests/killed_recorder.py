"""Records until it is killed, twenty times: python killed_recorder.py DIR; prints what it left.

The children share what the parent has imported; no thread runs when they are made.
"""

import os
import pathlib
import random
import signal
import sys
import time

import robot_clock

from aloe_client import episode_files


def record(directory):
  """Episodes of 5 to 11 steps, one after another."""
  recorder, clock, _ = robot_clock.recorder(directory)
  step = 0
  for episode in range(10**6):
    for _ in range(5 + episode % 7):
      recorder.infer(robot_clock.observation(step))
      clock.now += 0.02
      step += 1
    recorder.end(('success', 'failure')[episode % 2])
    recorder.flush(1)


if __name__ == '__main__':
  root = pathlib.Path(sys.argv[1])
  random.seed(0)
  count = 0
  for _ in range(20):
    child = os.fork()
    if child == 0:
      record(root)
    while len(episode_files.finished(root)) == count:
      time.sleep(0.005)
    time.sleep(random.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    count = len(episode_files.finished(root))
    print(count, len(episode_files.unfinished(root)))
