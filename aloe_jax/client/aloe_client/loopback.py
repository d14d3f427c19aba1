"""Whether an address reaches this machine alone, so that nobody else has to prove anything."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
  """Whether only programs of this machine can reach a host, by its number or as localhost."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == 'localhost'
