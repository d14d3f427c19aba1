"""The address and the key of a server as a person writes them."""

from __future__ import annotations

from typing import Any
import urllib.parse

PORT = 8000


def uri(address: str) -> str:
  """The whole address, ws://host:port/path or wss://...

  Args:
    address: host, host:port, ws://host:port or wss://host:port.

  Raises:
    ValueError: it is none.
  """
  text = address if '://' in address else f'ws://{address}'
  try:
    parts = urllib.parse.urlsplit(text)
    port = PORT if parts.port is None else parts.port
    (parts.hostname or '').encode('idna')  # which a look-up does, and some names cannot be
  except ValueError:
    parts, port = urllib.parse.urlsplit(''), 0
  if parts.scheme not in ('ws', 'wss') or not parts.hostname or not port:
    raise ValueError(
      f'server: found {address!r}, expected host:port, or ws:// or wss:// before it.'
    )
  host = f'[{parts.hostname}]' if ':' in parts.hostname else parts.hostname
  path = parts.path + (f'?{parts.query}' if parts.query else '')
  return f'{parts.scheme}://{host}:{port}{path}'


def key(given: Any) -> str:
  """A key as a header can hold it; a file often has a line break after it.

  Raises:
    ValueError: it is no line of ASCII.
  """
  found = given.strip() if isinstance(given, str) else ''
  if not found or not found.isascii() or not found.isprintable():
    raise ValueError(
      f'key: found a {type(given).__name__} that is no line of ASCII, expected the text that the '
      'server was started with.'
    )
  return found
