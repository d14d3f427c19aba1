"""What an importer gives: the episodes of one recording format, and what is said of the format."""

from collections.abc import Iterator, Mapping
import dataclasses
import pathlib
from typing import Protocol

from aloe_jax.data import outcomes
from aloe_jax.data import rlds
from aloe_jax.data.importers import settings as settings_lib


class Recordings(Protocol):
  """The episodes of a folder, read one at a time, so that one is in memory at a time.

  Iterating may raise FileNotFoundError, or ValueError naming the recording, the step and the field
  that is wrong; `settings.make_episode` checks what is the same for all formats.

  Recordings whose cameras are found by names in use also have `notes`: a list of lines, printed
  before anything is imported, that tell of every picture which camera it is, or why it is none.
  """

  left_out: list[str]  # names of images that belong to no camera, and are not imported

  def __len__(self) -> int:
    """Episodes there are."""

  def __iter__(self) -> Iterator[rlds.Episode]:
    """Yields the episodes in an order that is always the same."""


class Opener(Protocol):
  """Opens a folder of a format."""

  def __call__(self, directory: pathlib.Path, settings: settings_lib.Settings) -> Recordings:
    """Looks at what there is without reading all of it.

    Args:
      directory: of the recordings.
      settings: what holds for them beyond what they say.

    Raises:
      FileNotFoundError: a file or the folder itself is missing.
      ValueError: naming the file and what is wrong in it.
    """


@dataclasses.dataclass(frozen=True)
class Importer:
  """A format of recordings.

  Attributes:
    what: the format is, in a few words.
    open: the recordings of a folder, such as a class with this constructor.
    instead: {option of the command that the format has no use for: what it has in its place}.
    ends: what can be done where no recording says how it went.
  """

  what: str
  open: Opener
  instead: Mapping[str, str] = dataclasses.field(default_factory=dict)
  ends: str = outcomes.ADVICE
