"""The cockpit in a real browser: what a person presses, what the robot does and what they see."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time

import browser as browser_lib
import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import cockpit
from aloe_client import episode_files

pytestmark = pytest.mark.skipif(browser_lib.PROGRAM is None, reason='there is no chromium')
PHASE = "document.getElementById('phase').textContent"
NAMES = ('takeover', 'release', 'success', 'failure', 'cut', 'next', 'discard', 'stop')
KEYS = dict(zip(NAMES, 'trsfcndx', strict=True))


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  with browser_lib.running(tmp_path_factory.mktemp('profile')) as made:
    yield made


class Robot:
  """A robot whose loop goes on in a thread, and whose recorder notes what is called of it."""

  def __init__(self, directory):
    self.q, self.called, self.picture, self.moves = -20.0, [], True, True
    cameras = {f'images/{name}': {'shape': [6, 8, 3], 'camera': name} for name in ('head', 'wrist')}
    self.recorder, self._clock, _ = robot_clock.recorder(
      directory,
      told=scripted_server.metadata(cameras=cameras),
      reply=self._reply,
      values=True,
      human=lambda seen: seen['state'],
    )
    for name in ('takeover', 'release', 'end', 'begin', 'discard'):
      setattr(self.recorder, name, self._noting(name, getattr(self.recorder, name)))
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._run)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *error):
    self._ended.set()
    self._thread.join()
    self.recorder.close()

  def take(self, count=0):
    """What was called since it was asked last, as soon as there is so much of it."""
    limit = time.monotonic() + 20
    while len(self.called) < count and time.monotonic() < limit:
      time.sleep(0.01)
    self.called, found = [], self.called
    return found

  def _noting(self, name, method):
    def call(*given, **named):
      self.called.append((name, *given))
      return method(*given, **named)

    return call

  def _reply(self, request, number):
    reply = scripted_server.still(request)
    reply['aloe'] |= {'q': self.q, 'v': -18.0, 'spread': 1.25}
    return reply

  def _run(self):
    step = 0
    while not self._ended.wait(0.02):
      if self.moves and self.recorder.recording:
        step += 1
        image = np.full((6, 8, 3), step % 251, np.uint8)
        wrist = image if self.picture else None
        seen = {'state': np.full(3, step / 1000), 'images': {'head': image, 'wrist': wrist}}
        self.recorder.infer(seen)
        self._clock.now += 0.02


@pytest.fixture
def robot(tmp_path):
  with Robot(tmp_path) as made:
    yield made


@contextlib.contextmanager
def opened(browser, robot, **options):
  """The page of a robot, with an episode going on."""
  with cockpit.serve(robot.recorder, port=0, **options) as page:
    browser.open(page.url)
    browser.until(f"{PHASE} === 'Episode 0'")
    yield page
    browser.open('about:blank')
  assert not browser.errors


@pytest.mark.parametrize('how', ['keys', 'buttons'])
def test_every_command_is_followed_and_seen(browser, robot, how, tmp_path):
  def say(name, phase, *called):
    if how == 'keys':
      browser.press(KEYS[name])
    else:
      browser.click(name)
    browser.until(f'{PHASE}.startsWith({phase!r})')
    assert robot.take(len(called)) == list(called)  # a phase may have been so before

  with opened(browser, robot):
    say('takeover', 'Episode 0', ('takeover',))
    browser.until("document.getElementById('who').textContent === 'You act'")
    say('release', 'Episode 0', ('release',))
    browser.until("document.getElementById('who').textContent === 'Policy acts'")
    say('success', 'Paused', ('end', 'success'))
    assert browser.text('answer') == 'Episode 0 ended: success.'
    say('next', 'Episode 1', ('begin',))
    say('failure', 'Paused', ('end', 'failure'))
    say('next', 'Episode 2', ('begin',))
    say('cut', 'Paused', ('end', 'cut'))
    say('next', 'Episode 3', ('begin',))
    say('discard', 'Paused', ('discard',))
    assert browser.text('answer') == 'Episode 3 is put aside.'
    assert 'Discard last (2)' in browser.text('discard')
    say('discard', 'Paused', ('discard',))
    browser.until("document.getElementById('discard').textContent.includes('Discard last (1)')")
    say('success', 'Paused')  # there is none
    browser.until("document.getElementById('answer').textContent === 'There is no episode to end.'")
    say('next', 'Episode 2', ('begin',))
    say('stop', 'Stopped', ('end', 'cut'))
  robot.recorder.flush()
  found = [episode_files.read(path) for path in episode_files.finished(tmp_path)]
  assert [one.summary['end_reason'] for one in found] == ['success', 'failure', 'cut']


def test_a_fall_of_q_is_shown_loudly_with_its_false_alarms(browser, robot):
  hidden = "document.getElementById('warning').hidden"
  with opened(browser, robot):
    browser.until("document.getElementById('q').textContent === '−20.0'")
    assert browser.ask(hidden)
    assert browser.text('v') == '−18.0' and browser.text('spread') == '1.25'
    assert browser.text('threshold') == (
      'Warns below −40.0: 5 % of held-out successes fell below it too.'
    )
    robot.q = -55.0
    browser.until("document.querySelector('#warning.loud:not([hidden])')?.textContent")
    expected = (
      'Q has fallen below −40.0: be ready to take over. 5 % of successes fall below it too.'
    )
    assert browser.text('warning') == expected
    robot.q = -30.0
    browser.until("document.getElementById('warning').textContent.includes('earlier')")
    assert browser.text('least') == '−55.0'
    browser.until(
      "document.getElementById('plot').getAttribute('aria-label').includes('least −55.0')"
    )
    assert 'Q is -55.0, below -40.0: be ready to take over.' in browser.text('events')
    robot.moves = False  # a loop that hangs is no robot that rests
    browser.until("document.getElementById('warning').textContent.includes('taken no step for')")


def test_pictures_are_live_and_a_camera_that_gives_none_is_named(browser, robot):
  with opened(browser, robot):
    browser.until('document.images.length === 2 && document.images[1].naturalWidth === 8')
    first = browser.ask('document.images[0].src')
    browser.until(f'document.images[0].src !== {first!r}')
    robot.picture = False
    browser.until("document.querySelector('figure.gone')?.textContent === 'wrist: no picture'")


def test_a_lost_connection_is_shown_at_once_and_nothing_is_taken_for_done(browser, robot):
  lost = "document.getElementById('lost')"
  with opened(browser, robot) as page:
    enough, answer = threading.Event(), page.commands.run
    page.commands.run = lambda *said: enough.wait(20) and answer(*said)
    browser.press('t')
    browser.until(f'!{lost}.hidden')
    expected = 'Not known whether Take over arrived: look at the robot, then say it again.'
    assert browser.text('answer') == expected
    enough.set()
    browser.until("document.getElementById('answer').textContent === 'A person acts.'")
    del page.commands.run
    browser.until(f'{lost}.hidden')


@contextlib.contextmanager
def program(directory, port):
  """A robot's program of its own, with its cockpit at a port."""
  path = pathlib.Path(__file__).with_name('cockpit_robot.py')
  process = subprocess.Popen(
    [sys.executable, path, directory, str(port)], stderr=subprocess.PIPE, text=True
  )
  try:
    yield process
  finally:
    process.kill()
    process.communicate()


def test_a_program_that_ended_is_told_apart_from_a_lost_connection(browser, tmp_path):
  lost, going = "document.getElementById('lost')", f"{PHASE}.startsWith('Episode')"
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  with program(tmp_path, port) as process:
    browser.reach(f'http://127.0.0.1:{port}/', going)
    process.kill()
    began = time.monotonic()
    browser.until(f'!{lost}.hidden')
    assert time.monotonic() - began < 3
    told = browser.text('lost')
    assert 'Connection lost at' in told and 'trying again' in told and 'may go on' in told
    assert browser.text('phase') == 'Not connected'
    browser.press('s')
    assert browser.text('answer') == 'Success was not sent: there is no connection.'
  with program(tmp_path, port):
    browser.until(f'{going} && {lost}.hidden')
    browser.press('x')
    browser.until(f"{PHASE} === 'Program ended'")
    told = browser.text('lost')
    assert 'The robot’s program ended at' in told and ': a person said Stop.' in told
    browser.press('s')
    assert browser.text('answer') == 'Success was not sent: the robot’s program ended.'
    time.sleep(1.5)  # it tries again meanwhile, and nobody is there
    assert browser.text('phase') == 'Program ended' and 'lost' not in browser.text('lost')
  with program(tmp_path, port):
    browser.until(f'{going} && {lost}.hidden')
    browser.press('f')
    browser.until(f"{PHASE} === 'Program ended'")
    assert ': RuntimeError: an arm that is unplugged.' in browser.text('lost')
  browser.open('about:blank')


def test_it_is_said_who_acts_where_nobody_does(browser, robot):
  acts = "document.getElementById('who').textContent"
  with opened(browser, robot) as page:
    browser.until(f"{acts} === 'Policy acts'")
    robot.moves = False
    browser.until(f"{acts} === 'Nobody acts: the robot’s loop stands'")
    robot.moves = True
    browser.until(f"{acts} === 'Policy acts'")
    browser.press('s')
    browser.until(f"{PHASE}.startsWith('Paused')")
    waits = threading.Thread(target=page.wait)
    waits.start()
    browser.until("document.getElementById('count').textContent.includes('program waits')")
    browser.press('t')
    browser.until(f"{acts} === 'You act once the robot’s program goes on'")
    browser.press('n')
    browser.until(f"{acts} === 'You act'")
    waits.join()
    robot.recorder.release()
    robot.recorder._human = None
    browser.until("document.querySelector('#takeover.unfit') !== null")
    browser.press('t')
    said = 'takeover: found no source of actions; pass one, or human= to the recorder.'
    browser.until(f"document.getElementById('answer').textContent === '{said}'")
    browser.until(f"{acts} === 'Policy acts'")


def test_keys_that_are_typed_or_held_command_nothing(browser, robot):
  shown = "document.getElementById('ask').open"
  with cockpit.serve(robot.recorder, port=0, key='xstd') as page:
    browser.open(page.url.partition('#')[0])
    browser.until(shown)
    for key in 'nope\r':
      browser.press(key)
    browser.until(f'!{shown}')
    browser.until(shown)  # asked once more
    for key in 'xstd\r':
      browser.press(key)
    browser.until(f"{PHASE} === 'Episode 0'")
    browser.ask("document.body.prepend(document.createElement('input'))")
    browser.ask("document.querySelector('body > input').focus()")
    for key in 'xstd':
      browser.press(key)
    assert browser.ask('document.activeElement.value') == 'xstd'
    browser.ask('document.activeElement.blur()')
    browser.press('x', autoRepeat=True)
    browser.press('r', modifiers=2)  # reloads a page in some browsers
    browser.press('s')
    browser.until(f"{PHASE}.startsWith('Paused')")
    assert robot.take() == [('end', 'success')]
    browser.ask('sessionStorage.clear()')
    browser.open('about:blank')
    browser.open(page.url)  # with the key in it
    browser.until(f"{PHASE}.startsWith('Paused')")
    assert 'xstd' not in browser.ask('location.href')
    browser.open('about:blank')


def test_on_a_phone_nothing_is_wider_than_the_screen_and_buttons_are_in_reach(browser, robot):
  try:
    with opened(browser, robot):
      for width, height in ((360, 640), (390, 844), (1280, 800)):
        browser.size(width, height, mobile=width < 500)
        browser.until(f'innerWidth === {width}')
        assert browser.ask('document.documentElement.scrollWidth') <= width
        boxes = browser.ask(
          "[...document.querySelectorAll('#buttons button')].map((b) => b.getBoundingClientRect())"
          '.map((r) => [r.top, r.bottom, r.width, r.height])'
        )
        assert len(boxes) == 8
        for top, bottom, wide, high in boxes:
          assert top >= 0 and bottom <= height and wide >= 44 and high >= 44
  finally:
    browser.call('Emulation.clearDeviceMetricsOverride')
