"""Prompt tokens: the same words always give the same numbers."""

import numpy as np
import pytest

from aloe_jax import tokenizer


def test_words_become_the_crc_of_their_lower_case_and_padding_is_zero():
  tokens, mask = tokenizer.HashTokenizer(100, 4)('123456789 A-a')
  # the check value of CRC-32, and that of the letter a
  expected = [1 + crc % 99 for crc in (0xCBF43926, 0xE8B7BE43, 0xE8B7BE43)]
  np.testing.assert_array_equal(tokens, [*expected, 0])
  np.testing.assert_array_equal(mask, [True, True, True, False])
  assert tokens.dtype == np.int32


def test_case_and_punctuation_do_not_matter_but_order_does():
  encode = tokenizer.HashTokenizer(1000, 4)
  np.testing.assert_array_equal(encode('Pack the phone!')[0], encode('pack, the PHONE')[0])
  assert (encode('phone the pack')[0] != encode('pack the phone')[0]).any()


def test_no_word_has_the_token_of_padding_and_all_are_below_the_vocabulary():
  encode = tokenizer.HashTokenizer(3, 50)
  tokens, mask = encode(' '.join(f'word{i}' for i in range(40)))
  assert set(tokens[mask]) == {1, 2}


def test_a_prompt_that_is_too_long_is_refused_and_not_cut():
  with pytest.raises(ValueError, match='has 3 words, more than the 2 that actor.prompt_length'):
    tokenizer.HashTokenizer(100, 2)('fold the shirt')
