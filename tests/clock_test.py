"""Time of a simulated robot."""

import time

from aloe_jax.envs import clock


def test_time_passes_in_sleep_alone():
  stepped = clock.Stepped()
  date = stepped.time()
  began = time.monotonic()
  stepped.sleep(100.0)
  assert stepped.monotonic() == 100.0 and stepped.time() == date + 100.0
  assert time.monotonic() - began < 10


def test_the_wall_is_waited_for_and_time_that_was_lost_is_not_caught_up():
  paced = clock.Stepped(speed=2.0)
  began = time.monotonic()
  for _ in range(5):
    paced.sleep(0.04)
  assert time.monotonic() - began >= 0.1
  assert paced.monotonic() == 0.2
  time.sleep(0.2)  # the loop is late: in the scene nothing passes
  assert paced.monotonic() == 0.2
  late = time.monotonic()
  paced.sleep(0.04)
  paced.sleep(0.04)
  assert time.monotonic() - late >= 0.02
