"""A robot program of openpi is recorded; its runtime stands here as openpi runs it."""

import threading

import numpy as np
import pytest
import robot_clock

from aloe_client import commands
from aloe_client import episode_files
from aloe_client import openpi_adapter
from aloe_client import recorder as recorder_lib


class Robot:
  """An environment of openpi: three joints that go where they are told, 0.5 at most."""

  def __init__(self, clock, steps, *, clips=False):
    self._clock, self._steps, self._clips = clock, steps, clips
    self.resets, self.sent, self.color = 0, [], 'red'

  def reset(self):
    self.resets += 1
    self.count = 0

  def is_episode_complete(self):
    return self.count >= self._steps

  def get_observation(self):
    return robot_clock.observation(self.count)

  def apply_action(self, action):
    self.count += 1
    self.sent.append(action['actions'])
    self._clock.now += 0.02
    return {'actions': np.clip(action['actions'], None, 0.5)} if self._clips else None


class Agent:
  """PolicyAgent."""

  def __init__(self, policy):
    self._policy = policy

  def get_action(self, observation):
    return self._policy.infer(observation)

  def reset(self):
    self._policy.reset()


def run(environment, agent, subscribers, episodes=1, max_steps=0):
  """What Runtime.run of openpi does."""
  for _ in range(episodes):
    environment.reset()
    agent.reset()
    for subscriber in subscribers:
      subscriber.on_episode_start()
    steps = 0
    while True:
      observation = environment.get_observation()
      action = agent.get_action(observation)
      environment.apply_action(action)
      for subscriber in subscribers:
        subscriber.on_step(observation, action)
      steps += 1
      if environment.is_episode_complete() or (max_steps and steps >= max_steps):
        break
    for subscriber in subscribers:
      subscriber.on_episode_end()
  environment.reset()


def episodes(directory):
  return [episode_files.read(path) for path in episode_files.finished(directory)]


def test_a_program_of_openpi_is_recorded_as_it_ran(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot = Robot(clock, 12)
  environment = openpi_adapter.Environment(robot, recorder)
  ends = iter(['success', None])
  subscriber = openpi_adapter.Subscriber(recorder, lambda: next(ends))
  run(environment, Agent(openpi_adapter.Policy(recorder, clock)), [subscriber], episodes=2)
  recorder.close()
  found = episodes(tmp_path)
  assert [e.summary['end_reason'] for e in found] == ['success', 'cut']
  assert [len(e.steps) for e in found] == [12, 12]
  np.testing.assert_array_equal(
    np.concatenate([e.column('executed') for e in found]), np.array(robot.sent)
  )
  np.testing.assert_allclose(found[0].column('state')[:, 0], np.arange(12) / 100, atol=1e-6)
  assert environment.color == 'red'  # the rest of the robot is still there
  assert robot.resets == 3


def test_what_the_environment_says_it_did_is_recorded(tmp_path):
  recorder, clock, _ = robot_clock.recorder(
    tmp_path, reply=lambda request, number: {'actions': np.full((10, 3), 2.0)}
  )
  environment = openpi_adapter.Environment(Robot(clock, 4, clips=True), recorder)
  policy = openpi_adapter.Policy(recorder, clock)
  run(environment, Agent(policy), [openpi_adapter.Subscriber(recorder)])
  recorder.close()
  (found,) = episodes(tmp_path)
  np.testing.assert_array_equal(found.column('executed'), 0.5)
  np.testing.assert_array_equal(found.column('requested'), 2.0)


def test_a_person_ends_an_episode_and_the_program_goes_on_with_the_next(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  environment = openpi_adapter.Environment(Robot(clock, 50), recorder)

  class Presses(openpi_adapter.Subscriber):
    waited = 0

    def on_episode_start(self):
      if not recorder.recording:
        threading.Timer(0.1, self.begin).start()
      super().on_episode_start()
      assert recorder.recording

    def begin(self):
      Presses.waited += 1
      recorder.begin()

    def on_step(self, observation, action):
      if recorder.snapshot()['step'] == 5:
        recorder.end('success', wait=True)

  policy = openpi_adapter.Policy(recorder, clock)
  run(environment, Agent(policy), [Presses(recorder)], episodes=2)
  recorder.close()
  found = episodes(tmp_path)
  assert [(e.summary['end_reason'], len(e.steps)) for e in found] == [('success', 5)] * 2
  assert Presses.waited == 1  # the next episode began when a person said so


@pytest.mark.parametrize('episodes_left', [0, 3])
def test_after_stop_the_robot_moves_no_more(episodes_left, tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot = Robot(clock, 50)
  environment = openpi_adapter.Environment(robot, recorder)

  class Presses(openpi_adapter.Subscriber):
    def on_step(self, observation, action):
      if recorder.snapshot()['step'] == 5:
        assert commands.of(recorder).run('stop') == 'Stopped. Episode 0 is cut.'

  policy = openpi_adapter.Policy(recorder, clock)
  with pytest.raises(openpi_adapter.StoppedError, match='A person has said stop'):
    run(environment, Agent(policy), [Presses(recorder)], episodes=1 + episodes_left)
  assert (robot.resets, len(robot.sent)) == (1, 5)
  with pytest.raises(SystemExit):
    openpi_adapter.Subscriber(recorder).on_episode_start()
  recorder.close()


def test_nothing_of_the_last_episode_is_sent_in_the_next(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, delays=[0.02, 0.02, 1e9])
  robot = Robot(clock, 4)
  environment = openpi_adapter.Environment(robot, recorder)
  policy = openpi_adapter.Policy(recorder, clock)
  run(environment, Agent(policy), [openpi_adapter.Subscriber(recorder)])
  sent = len(robot.sent)
  policy.reset()
  robot.reset()
  recorder.end('cut', wait=True)  # before the first chunk is there
  command = policy.infer(robot_clock.observation(0))
  assert command == {'actions': None}
  environment.apply_action(command)
  assert sent == len(robot.sent) == 4 and environment.is_episode_complete()
  recorder.close()


def test_a_program_that_asks_its_own_server_is_recorded_by_the_subscriber_alone(tmp_path):
  class Broker:
    def infer(self, observation):
      return {'actions': observation['state'] + 1}

    def reset(self):
      pass

  recorder = recorder_lib.Recorder(None, 'fold', tmp_path, hz=50, images='raw')
  robot = Robot(robot_clock.Clock(), 6)
  subscriber = openpi_adapter.Subscriber(recorder, lambda: 'failure')
  run(robot, Agent(Broker()), [subscriber])
  recorder.close()
  (found,) = episodes(tmp_path)
  np.testing.assert_allclose(found.column('executed'), found.column('state') + 1)
  assert found.summary['end_reason'] == 'failure'


def test_a_server_without_a_first_chunk_is_given_up(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, delays=[1e9])
  policy = openpi_adapter.Policy(recorder, clock)
  with pytest.raises(ConnectionError, match='no actions came within 120 s'):
    policy.infer(robot_clock.observation(0))
  recorder.close()
