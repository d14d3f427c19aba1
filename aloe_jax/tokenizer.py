"""Prompt tokens for the small actor: words hashed into a fixed vocabulary."""

import dataclasses
import re
import zlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class HashTokenizer:
  """Maps each word of a prompt to one of `vocab_size` - 1 ids by its CRC-32; 0 is padding.

  Needs no vocabulary file, which is all a laptop-size actor asks of language. The full π0.5
  has a tokenizer of its own.

  Attributes:
    vocab_size: ids are below it.
    max_length: L; a longer prompt is an error, not cut.
  """

  vocab_size: int
  max_length: int

  def __call__(self, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens [L] int32 and mask [L] bool."""
    words = re.findall(r'\w+', prompt.lower())
    if len(words) > self.max_length:
      raise ValueError(
        f'the prompt {prompt!r} has {len(words)} words, more than the {self.max_length} that '
        'actor.prompt_length allows; shorten it or raise actor.prompt_length.'
      )
    tokens = np.zeros(self.max_length, np.int32)
    tokens[: len(words)] = [1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in words]
    return tokens, np.arange(self.max_length) < len(words)
