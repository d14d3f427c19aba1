"""A headless Chromium, driven by its own protocol over a websocket."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request

from websockets.sync import client

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser')
_OPTIONS = (
  '--headless',
  '--no-sandbox',  # of a test that may run as root
  '--disable-gpu',
  '--disable-extensions',
  '--disable-background-networking',
  '--disable-component-update',
  '--no-first-run',
  '--remote-debugging-port=0',
)


class Browser:
  """One tab."""

  def __init__(self, connection):
    self._connection, self._number = connection, 0
    self.errors = []  # of scripts
    self.call('Runtime.enable')
    self.call('Page.enable')

  def call(self, method, **options):
    """A command of the protocol, and its result."""
    self._number += 1
    message = {'id': self._number, 'method': method, 'params': options}
    self._connection.send(json.dumps(message))
    while True:
      told = json.loads(self._connection.recv(timeout=20))
      if told.get('method') == 'Runtime.exceptionThrown':
        self.errors.append(told['params']['exceptionDetails'])
      if told.get('id') == self._number:
        assert 'error' not in told, told
        return told['result']

  def open(self, url):
    self.call('Page.navigate', url=url)

  def ask(self, script):
    """The value of an expression."""
    found = self.call('Runtime.evaluate', expression=script, returnByValue=True)
    assert 'exceptionDetails' not in found, found
    return found['result'].get('value')

  def until(self, script, seconds=20):
    """Waits until an expression is true; a page that is not there yet is waited for too."""
    end = time.monotonic() + seconds
    while True:
      found = self.call('Runtime.evaluate', expression=script, returnByValue=True)
      if found['result'].get('value') and 'exceptionDetails' not in found:
        return
      assert time.monotonic() < end, f'not in time: {script}'
      time.sleep(0.05)

  def reach(self, url, script, seconds=20):
    """Opens a page that may not be there yet, until an expression is true on it."""
    end = time.monotonic() + seconds
    while True:
      self.open(url)
      with contextlib.suppress(AssertionError):
        return self.until(script, min(1, seconds))
      assert time.monotonic() < end, f'not in time: {url}'

  def text(self, name):
    return self.ask(f'document.getElementById({name!r}).textContent')

  def press(self, key, **more):
    """A key down and up; a line feed is the key Enter."""
    name = 'Enter' if key == '\r' else key
    code = {'key': name, 'text': key, 'windowsVirtualKeyCode': ord(key.upper()), **more}
    self.call('Input.dispatchKeyEvent', type='keyDown', **code)
    self.call('Input.dispatchKeyEvent', type='keyUp', key=name)

  def click(self, name):
    """Presses the mouse where an element is."""
    box = f'document.getElementById({name!r}).getBoundingClientRect()'
    x, y = self.ask(f'[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]')
    for kind in ('mousePressed', 'mouseReleased'):
      self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

  def size(self, width, height, scale=1, mobile=False):
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=scale,
      mobile=mobile,
    )

  def picture(self, path):
    """Writes what is seen as a PNG."""
    found = self.call('Page.captureScreenshot', format='png')
    path.write_bytes(base64.b64decode(found['data']))


@contextlib.contextmanager
def running(directory):
  """A browser whose profile lies in a directory."""
  process = subprocess.Popen(
    [PROGRAM, *_OPTIONS, f'--user-data-dir={directory}', 'about:blank'],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    port = _port(directory / 'DevToolsActivePort')
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/json/list') as reply:
      tab = next(each for each in json.load(reply) if each['type'] == 'page')
    with client.connect(tab['webSocketDebuggerUrl'], max_size=None, compression=None) as connection:
      yield Browser(connection)
  finally:
    process.terminate()
    process.wait()


def _port(path):
  end = time.monotonic() + 60
  while not (path.exists() and path.read_text().strip()):
    assert time.monotonic() < end, 'chromium has not started'
    time.sleep(0.05)
  return int(path.read_text().split()[0])
