"""An emulated Google Cloud Storage on this machine, which can refuse, dawdle and hang up.

`gcp-storage-emulator` keeps the objects. What it lacks, and what locks and indices rest on, is
added here: the generation of an object in its headers, and writes that are done only if it is as
it was.
"""

import contextlib
import functools
import http.server
import io
import json
import logging
import re
import threading
import urllib.parse

from gcp_storage_emulator import exceptions
from gcp_storage_emulator import server
from gcp_storage_emulator import storage as storage_lib
from gcp_storage_emulator.handlers import buckets

BUCKET = 'robots'


class Emulator:
  """A service with one bucket, for as long as its context lasts.

  Attributes:
    url: of the service.
    rules: functions of a request's method and path, with the name of what is uploaded. Each may
      sleep, or return a status that the request is answered with.
    requests: (method, path) of all that came.
  """

  def __init__(self):
    logging.getLogger('gcp_storage_emulator').setLevel(logging.CRITICAL)
    self.rules, self.requests = [], []
    self._storage = storage_lib.Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, self._storage)
    handler = functools.partial(_Handler, self, self._storage)
    self._server = http.server.ThreadingHTTPServer(('localhost', 0), handler)
    self._server.daemon_threads = True
    self.url = f'http://localhost:{self._server.server_port}'
    self.lock = threading.Lock()

  @property
  def environment(self):
    """Variables that have all libraries use this service."""
    return {
      'STORAGE_EMULATOR_HOST': self.url,
      'TENSORSTORE_GCS_HTTP_URL': self.url,
      # It would ask another service, which is not emulated, what kind of bucket this is.
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
    }

  def __enter__(self):
    threading.Thread(target=self._server.serve_forever, daemon=True).start()
    return self

  def __exit__(self, *unused):
    self._server.shutdown()
    self._server.server_close()

  def names(self, prefix=''):
    """Of all objects whose names begin so."""
    found, _ = self._storage.get_file_list(BUCKET, prefix or None)
    return sorted(x['name'] for x in found)

  def read(self, name):
    return self._storage.get_file(BUCKET, name)

  def generation(self, name):
    """Of an object; '0' where there is none."""
    with contextlib.suppress(exceptions.NotFound):
      return self._storage.get_file_obj(BUCKET, name)['generation']
    return '0'

  @contextlib.contextmanager
  def rule(self, rule):
    self.rules.append(rule)
    try:
      yield
    finally:
      self.rules.remove(rule)


class _Handler(server.RequestHandler):
  protocol_version = 'HTTP/1.1'

  def __init__(self, emulator, storage, *arguments):
    self._emulator, self._generation = emulator, None
    super().__init__(storage, *arguments)

  def _handle(self, method):
    content = server._read_raw_data(self) or b''
    self.rfile, connection = io.BytesIO(content), self.rfile
    if 'Transfer-Encoding' in self.headers:
      self.headers.replace_header('Transfer-Encoding', 'identity')
      self.headers['Content-Length'] = str(len(content))
    path = urllib.parse.unquote(self.path)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
    name = query.get('name', [path.partition('?')[0].partition('/o/')[2]])[0]
    if match := re.search(rb'"name": ?"([^"]*)"', content[:2000] if '/upload/' in path else b''):
      name = match[1].decode()
      path = f'{path} {name}'
    self._emulator.requests.append((method, path))
    status = next(
      (s for s in (rule(method, path) for rule in list(self._emulator.rules)) if s), None
    )
    if status:
      self._answer(status)
    else:
      with self._emulator.lock:
        self._do(method, query, name)
    self.rfile = connection

  def _do(self, method, query, name):
    found = self._emulator.generation(name)
    wanted, other = (query.get(f'ifGeneration{x}', [None])[0] for x in ('Match', 'NotMatch'))
    self._generation = found if method == 'GET' and found != '0' else None
    if wanted is not None and wanted != found:
      self._answer(412)
    elif other is not None and other == found and method == 'GET':
      self._answer(304)
    else:
      server.Router(self).handle(method)

  def _answer(self, status):
    """Without what the request would have done."""
    said = {403: 'robot@lab does not have storage.objects.create access', 404: 'Not Found'}
    content = json.dumps({'error': {'code': status, 'message': said.get(status, str(status))}})
    self.send_response(status)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', '0' if status == 304 else str(len(content)))
    self.end_headers()
    if status != 304:
      self.wfile.write(content.encode())

  def end_headers(self):
    if self._generation is not None:
      self.send_header('x-goog-generation', self._generation)
    super().end_headers()

  def do_GET(self):
    self._handle('GET')

  def do_POST(self):
    self._handle('POST')

  def do_PUT(self):
    self._handle('PUT')

  def do_DELETE(self):
    self._handle('DELETE')

  def do_PATCH(self):
    self._handle('PATCH')


def main():
  """Serves until it is stopped, and says how commands find it."""
  with Emulator() as service:
    for name, value in service.environment.items():
      print(f'export {name}={value}')
    print(f'# the bucket is gs://{BUCKET}; what is in it goes with this process', flush=True)
    threading.Event().wait()


if __name__ == '__main__':
  main()
