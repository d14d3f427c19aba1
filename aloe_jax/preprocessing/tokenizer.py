"""Prompts as tokens: by hashing words, or by SentencePiece and the text that π0.5 reads."""

import dataclasses
import pathlib
import re
from typing import Protocol
import zlib

from absl import logging
import numpy as np
import sentencepiece

from aloe_jax import types

_PALIGEMMA = 'big_vision/paligemma_tokenizer.model'
_SHOWN = 100  # characters of a prompt in a message
_BIN_EDGES = np.linspace(-1, 1, 256, endpoint=False)  # left ones, of the state in the text


class Vocabulary(Protocol):
  """Text to ids; `vocab_size` is above them all."""

  @property
  def vocab_size(self) -> int: ...

  def encode(self, text: str, bos: bool) -> list[int]:
    """Ids of a text, after the mark of a beginning if `bos`."""


@dataclasses.dataclass(frozen=True)
class Words:
  """Maps each word to one of `vocab_size` - 1 ids by its CRC-32; 0 is padding.

  Needs no vocabulary file, which is all a laptop-size actor asks of language.

  Attributes:
    vocab_size: ids are below it.
  """

  vocab_size: int

  def encode(self, text: str, bos: bool) -> list[int]:
    """Ids of the words in lower case; there is no mark of a beginning."""
    del bos
    words = re.findall(r'\w+', text.lower())
    return [1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in words]


class SentencePiece:
  """A SentencePiece model from a file, such as that of PaliGemma, which π0.5 reads with.

  Args:
    path: of the `.model` file.

  Raises:
    FileNotFoundError: saying where PaliGemma's is to be had.
    ValueError: if the file holds no SentencePiece model.
  """

  def __init__(self, path: pathlib.Path | str):
    if not pathlib.Path(path).is_file():
      raise FileNotFoundError(
        f'{path}: no such file (config.actor.tokenizer); the tokenizer of π0.5 is public at '
        f'gs://{_PALIGEMMA} and https://storage.googleapis.com/{_PALIGEMMA}.'
      )
    try:
      self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError as error:
      raise ValueError(
        f'{path}: not a SentencePiece model (config.actor.tokenizer; {error}).'
      ) from error

  @property
  def vocab_size(self) -> int:
    return self._processor.vocab_size()

  def encode(self, text: str, bos: bool) -> list[int]:
    return self._processor.encode(text, add_bos=bos)


@dataclasses.dataclass(frozen=True)
class PromptTokenizer:
  """A prompt, and with it the robot's state, as the tokens that an actor reads.

  Attributes:
    vocabulary: text to ids.
    max_length: L.
    discrete_state: the text tells the state too, as π0.5 has it; otherwise it is the prompt and
      a newline, as in π0.
    truncate: cut what is longer than L, with a warning, as openpi does; otherwise it is an
      error, since the cut takes away what the text ends with.
  """

  vocabulary: Vocabulary
  max_length: int
  discrete_state: bool
  truncate: bool = False

  def __call__(
    self, prompt: str, state: np.ndarray | None = None, tag: types.Tag = types.Tag.NONE
  ) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [L] int32, padded with 0, and mask [L] bool.

    Args:
      prompt: of the task.
      state: [n], normalised and not padded; read only with `discrete_state`.
      tag: of the chunk's advantage.
    """
    ids = self.vocabulary.encode(self.text(prompt, state, tag), bos=True)
    if not self.discrete_state:
      ids = ids + self.vocabulary.encode('\n', bos=False)  # encoded apart from the prompt in openpi
    if len(ids) > self.max_length:
      shown = prompt if len(prompt) <= _SHOWN else f'{prompt[:_SHOWN]}…'
      problem = (
        f'the prompt {shown!r} has {len(ids)} tokens, more than the {self.max_length} that '
        'config.actor.prompt_length allows'
      )
      if not self.truncate:
        raise ValueError(f'{problem}; shorten it or raise config.actor.prompt_length.')
      logging.warning('%s; the rest is cut.', problem)
    tokens = np.zeros(self.max_length, np.int32)
    tokens[: len(ids)] = ids[: self.max_length]
    return tokens, np.arange(self.max_length) < len(ids)

  def text(
    self, prompt: str, state: np.ndarray | None = None, tag: types.Tag = types.Tag.NONE
  ) -> str:
    """What the actor is told: the cleaned prompt, with `discrete_state` the state, and the tag.

    A number of the state is told as the index, 0 to 255, of its bin in [-1, 1); what lies above
    has 255 and what lies below -1. The tag has a line of its own, the last before the action.
    """
    prompt = prompt.strip().replace('_', ' ').replace('\n', ' ')
    advantage = f'\nAdvantage: {tag.name.lower()}' if tag else ''
    if not self.discrete_state:
      return prompt + advantage
    if state is None:
      raise ValueError(f'the text of the prompt {prompt!r} tells a state, but none was given.')
    finite = np.isfinite(state)
    if not finite.all():
      raise ValueError(
        f'numbers {np.flatnonzero(~finite).tolist()} of the state are not finite; '
        f'the prompt was {prompt!r}.'
      )
    bins = np.digitize(state, _BIN_EDGES) - 1
    return f'Task: {prompt}, State: {" ".join(map(str, bins))};{advantage}\nAction: '
