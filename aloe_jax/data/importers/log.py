"""What an import has to tell beyond the episodes it makes: what was left out, cut, or too long."""

import collections
from collections.abc import Iterator
import contextlib
import dataclasses

_NAMED = 8  # episodes that a line names


@dataclasses.dataclass
class Log:
  """Filled while recordings are read.

  Attributes:
    on_error: 'raise' at an episode that cannot be read, or 'skip' it.
    steps: of all recordings, as far as that is known before they are read.
    skipped: one message for each episode left out.
  """

  on_error: str = 'raise'
  steps: int | None = None
  skipped: list[str] = dataclasses.field(default_factory=list)
  _holes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
  _unknown: int = 0  # take-overs that lie in a hole
  _surplus: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

  _unowned: dict[str, int] = dataclasses.field(default_factory=dict)
  _asides: list[str] = dataclasses.field(default_factory=list)

  @contextlib.contextmanager
  def reading(self) -> Iterator[None]:
    """Around what reads one episode: what is wrong with it leaves it out, where that is asked for.

    Raises:
      OSError: a file is missing or cannot be read, unless on_error is 'skip'.
      ValueError: something is wrong in it, unless on_error is 'skip'.
    """
    try:
      yield
    except (OSError, ValueError) as error:
      self.skip(error)

  def skip(self, error: Exception) -> None:
    """Counts one episode as left out because of an error, or raises it."""
    if self.on_error == 'raise':
      raise error
    self.skipped.append(' '.join(str(error).split()))

  def cut(self, episode: str, holes: int, takeovers: int) -> None:
    """Notes the holes of an episode, and at how many of them a human has taken over."""
    if holes:
      self._holes[episode] += holes
      self._unknown += takeovers

  def surplus(self, episode: str, frames: int) -> None:
    """Notes frames of a video after the last step of its episode."""
    self._surplus[episode] = max(frames, self._surplus[episode])

  def unowned(self, path: str, frames: int) -> None:
    """Notes frames of a video file that belong to no episode."""
    if frames:
      self._unowned[path] = frames

  def aside(self, episode: str, what: str) -> None:
    """Notes what a person should know of one episode, such as why its recorder set it aside."""
    self._asides.append(f'{episode}: {what}')

  def notes(self) -> list[str]:
    """What was noted, a line each."""
    lines = list(self._asides)
    if self._holes:
      holes = self._holes.total()
      line = (
        f'{holes} hole{"s" * (holes != 1)} in {_episodes(self._holes)}: the episode is cut there'
      )
      if self._unknown:
        line += (
          f'; {self._unknown} of them between the policy and a human: when the human took over is '
          'not recorded, so the fragment ends by a cut, not by a take-over'
        )
      lines.append(line)
    if self._surplus:
      frames = self._surplus.total()
      lines.append(
        f'{frames} video frame{"s" * (frames != 1)} after the last step in '
        f'{_episodes(self._surplus)}: left out, since every step has its own by its time'
      )
    if self._unowned:
      files = [f'{path}: {frames}' for path, frames in self._unowned.items()]
      more = f' and {len(files) - _NAMED} more files' if len(files) > _NAMED else ''
      frames = sum(self._unowned.values())
      lines.append(
        f'{frames} video frame{"s" * (frames != 1)} that belong{"s" * (frames == 1)} to no episode '
        f'({", ".join(files[:_NAMED])}{more}): left out; from_timestamp and to_timestamp in '
        'meta/episodes may be wrong'
      )
    return lines


def _episodes(found: collections.Counter[str]) -> str:
  names = list(found)
  more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
  return f'episode{"s" * (len(names) != 1)} {", ".join(names[:_NAMED])}{more}'
