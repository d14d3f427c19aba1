"""Iterations that a user has appended to a run, to learn something again or further.

`train --redo=actor` teaches the actor anew by the critic that is there, `--redo=critic` both anew,
and `--more` goes on with the newest. Nothing is collected for them, and nothing is overwritten:
each is an iteration with checkpoints, metrics and an evaluation of its own. Which they are is kept
in `appended.json` of the working directory, which only grows.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import pathlib

from aloe_jax import files
from aloe_jax.parallel import hosts

FILE = 'appended.json'
_ACTOR, _CRITIC, _BOTH = ('actor',), ('critic',), ('critic', 'actor')
LEARNS = {  # {option: {its value: what learns}}
  'redo': {'actor': _ACTOR, 'critic': _BOTH},
  'more': {'actor': _ACTOR, 'critic': _CRITIC, 'critic,actor': _BOTH},
}
ADVICE = (
  'put back the file as the run wrote it, or start another --workdir: without it nothing tells '
  'which checkpoints were learnt from which.'
)


@dataclasses.dataclass(frozen=True)
class Appended:
  """An iteration that collects nothing.

  Attributes:
    iteration: its number.
    asked: the option that asked for it, such as 'redo=actor'.
    of: the iteration that it redoes or follows.
    begins: number of the checkpoint whose parameters it begins with.
    bank: number of the iteration whose random numbers its bank is drawn by.
  """

  iteration: int
  asked: str
  of: int
  begins: int
  bank: int

  @property
  def redoes(self) -> bool:
    """Whether it begins where another iteration, or a part of it, began."""
    return self.asked.startswith('redo=')

  @property
  def learns(self) -> tuple[str, ...]:
    """What it teaches: 'critic', 'actor' or both, in their order."""
    option, _, value = self.asked.partition('=')
    return LEARNS[option][value]


def add_options(parser: argparse.ArgumentParser) -> None:
  """The options of `train` that append an iteration."""
  parser.add_argument(
    '--redo',
    action='append',
    metavar='PHASE',
    help='have a run learn actor, or critic and then actor, again with other settings',
  )
  parser.add_argument(
    '--more',
    action='append',
    metavar='PHASE',
    help='likewise actor, critic or critic,actor further; both collect nothing',
  )


def asked(options: argparse.Namespace) -> str:
  """What the options of `add_options` ask for, such as 'redo=actor'; '' for nothing.

  Raises:
    ValueError: there are two of them, or one names no phase.
  """
  given = [(name, value) for name in LEARNS for value in getattr(options, name, None) or ()]
  if len(given) > 1:
    raise ValueError(
      f'{" and ".join(f"--{name}={value}" for name, value in given)} are {len(given)} iterations; '
      'give one, and then the other.'
    )
  for name, value in given:
    if value not in LEARNS[name]:
      raise ValueError(
        f'--{name} names {value!r}; expected {" or ".join(LEARNS[name])}'
        f'{", which is followed by the actor" if name == "redo" else ""}.'
      )
    return f'{name}={value}'
  return ''


def read(workdir: pathlib.Path) -> tuple[Appended, ...]:
  """The iterations that were appended to a run, in their order.

  Raises:
    ValueError: the file is damaged; names it.
  """
  path = workdir / FILE
  fields = {field.name: field.type for field in dataclasses.fields(Appended)}
  found: list[Appended] = []
  for index, entry in enumerate(files.read_entries(path, fields, ADVICE)):
    one = Appended(**{name: entry[name] for name in fields})
    option, _, value = str(one.asked).partition('=')
    whole = all(type(getattr(one, name)) is kind for name, kind in fields.items())
    before = found[-1].iteration if found else 1
    # What it begins with comes before its own checkpoints, and so do the iterations it refers to.
    if not (
      whole
      and value in LEARNS.get(option, ())
      and before < one.iteration
      and 1 <= one.of < one.iteration
      and 1 <= one.bank <= one.iteration
      and 0 <= one.begins < 2 * one.iteration - 1
    ):
      raise ValueError(
        f'{path}: entry {index}: found {json.dumps(entry):.80}, expected an iteration after '
        f'{before} and what learns in it; {ADVICE}'
      )
    found.append(one)
  return tuple(found)


def policy_name(iteration: int, entries: Sequence[Appended]) -> str:
  """What the policy after an iteration is called in tables; 0 is the warm start.

  Args:
    iteration: its number.
    entries: all that were appended to the run.
  """
  one = next((entry for entry in entries if entry.iteration == iteration), None)
  name = f'iteration {iteration}' if iteration else 'BC warm start'
  if one is None:
    return name
  how = f'of {one.of} again' if one.redoes else f'on from {one.of}'
  return f'{name}: {", ".join(one.learns)} {how}'


def keep(workdir: pathlib.Path, entries: Sequence[Appended]) -> None:
  """Writes them, on the first host, where there are more than before."""
  if hosts.is_first() and len(entries) > len(read(workdir)):
    listed = [dataclasses.asdict(entry) for entry in entries]
    files.write_text(workdir / FILE, json.dumps(listed, indent=2))


def unfinished(
  entries: Sequence[Appended], done: int | None, evaluated: Sequence[int] | None
) -> Appended | None:
  """The newest of them, unless its last checkpoint is there and its evaluation.

  Args:
    entries: all of a run.
    done: number of the newest checkpoint, None for none.
    evaluated: iterations that were evaluated; None where there is no simulator.
  """
  if not entries:
    return None
  newest = entries[-1]
  learnt = done is not None and done >= 2 * newest.iteration
  return None if learnt and (evaluated is None or newest.iteration in evaluated) else newest
