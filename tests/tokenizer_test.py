"""Prompt tokens: words, SentencePiece, and the text that π0.5 was trained to read."""

import json
import pathlib

from absl import logging
import numpy as np
import pytest
import sentencepiece

from aloe_jax import types
from aloe_jax.preprocessing import tokenizer

GOLDEN = json.loads((pathlib.Path(__file__).parent / 'golden' / 'pi05_io_golden.json').read_text())


class Letters:
  """A stand-in for SentencePiece: a letter is a token, as the golden ids have it."""

  vocab_size = 100

  def __init__(self):
    self.calls = []

  def encode(self, text, bos):
    self.calls.append([text, bos])
    return [2] * bos + [3 + ord(letter) % 97 for letter in text]


def test_case_and_punctuation_do_not_matter_but_order_does():
  words = tokenizer.Words(1000)
  assert words.encode('Pack the phone!', bos=True) == words.encode('pack, the PHONE', bos=True)
  assert words.encode('phone the pack', bos=True) != words.encode('pack the phone', bos=True)


def test_words_have_ids_below_the_vocabulary_and_above_that_of_padding():
  words = tokenizer.Words(100)
  # the check value of CRC-32, and that of the letter a
  expected = [1 + crc % 99 for crc in (0xCBF43926, 0xE8B7BE43, 0xE8B7BE43)]
  assert words.encode('123456789, A-a!', bos=True) == expected
  assert set(tokenizer.Words(3).encode(' '.join(map(str, range(40))), bos=True)) == {1, 2}


@pytest.mark.parametrize('case', GOLDEN['prompt_cases'])
def test_the_text_of_prompt_and_state_is_that_of_openpi(case):
  state = case['state']
  if state is not None:
    state = np.array(state, case['state_dtype'])
  vocabulary = Letters()
  encode = tokenizer.PromptTokenizer(vocabulary, 200, discrete_state=state is not None)
  _, mask = encode(case['prompt'], state)
  if state is None:
    assert vocabulary.calls == case['encode_calls']
  else:
    assert encode.text(case['prompt'], state) == case['text']
    assert vocabulary.calls == [[case['text'], True]]
    assert mask.sum() == len(case['text']) + 1


@pytest.mark.parametrize(
  'tag, line',
  [
    (types.Tag.NONE, ''),
    (types.Tag.POSITIVE, 'Advantage: positive\n'),
    (types.Tag.NEGATIVE, 'Advantage: negative\n'),
  ],
)
def test_a_tag_is_the_last_line_before_the_action(tag, line):
  vocabulary = Letters()
  tokenizer.PromptTokenizer(vocabulary, 80, discrete_state=True)(
    'fold_it', np.array([-1, 0.5]), tag
  )
  assert vocabulary.calls == [[f'Task: fold it, State: 0 192;\n{line}Action: ', True]]
  vocabulary = Letters()
  tokenizer.PromptTokenizer(vocabulary, 80, discrete_state=False)('fold_it', None, tag)
  assert ''.join(text for text, _ in vocabulary.calls) == f'fold it\n{line}'


def test_short_text_is_padded_and_long_text_cut_as_in_openpi(monkeypatch):
  warned = []
  monkeypatch.setattr(logging, 'warning', lambda line, *args: warned.append(line % args))
  for prompt, name in (('abc', 'padding'), ('abcdefgh', 'truncation')):
    case = GOLDEN[name]
    vocabulary = Letters()
    encode = tokenizer.PromptTokenizer(vocabulary, case['max_len'], False, truncate=True)
    tokens, mask = encode(prompt)
    np.testing.assert_array_equal(tokens, case['ids'])
    np.testing.assert_array_equal(mask, case['mask'])
    assert tokens.dtype == np.int32 and mask.dtype == bool
    assert vocabulary.calls == case['encode_calls']
  assert len(warned) == 1
  assert warned[0].startswith("the prompt 'abcdefgh' has 10 tokens, more than the 6 that config")


def test_text_that_is_too_long_is_refused():
  encode = tokenizer.PromptTokenizer(Letters(), 9, discrete_state=False)
  assert encode('abcdefg')[1].all()
  with pytest.raises(ValueError, match="'abcdefgh' has 10 tokens, more than the 9 that config.act"):
    encode('abcdefgh')


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_state_that_is_not_finite_is_refused(bad):
  encode = tokenizer.PromptTokenizer(Letters(), 200, discrete_state=True)
  with pytest.raises(ValueError, match=r"numbers \[1\] of the state are not finite; .* 'fold'"):
    encode('fold', np.array([0, bad]))


def test_a_text_that_tells_the_state_needs_one():
  encode = tokenizer.PromptTokenizer(Letters(), 200, discrete_state=True)
  with pytest.raises(ValueError, match="prompt 'fold' tells a state, but none was given"):
    encode('fold')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A SentencePiece model with the special ids of PaliGemma."""
  folder = tmp_path_factory.mktemp('sentencepiece')
  lines = ['Task: fold the red towel, State: 0 12 255;', 'Action: pick up the cup_']
  (folder / 'text').write_text('\n'.join(lines * 20))
  sentencepiece.SentencePieceTrainer.train(
    input=str(folder / 'text'),
    model_prefix=str(folder / 'tiny'),
    vocab_size=35,
    pad_id=0,
    eos_id=1,
    bos_id=2,
    unk_id=3,
    minloglevel=2,
  )
  return folder / 'tiny.model'


def test_sentencepiece_ids_are_those_of_the_library_after_the_mark_of_a_beginning(model):
  vocabulary = tokenizer.SentencePiece(model)
  library = sentencepiece.SentencePieceProcessor(model_file=str(model))
  text = 'Task: fold the cup, State: 2 55;\nAction: '
  ids = library.encode(text)
  assert vocabulary.encode(text, bos=False) == ids
  assert vocabulary.encode(text, bos=True) == [2, *ids]
  assert vocabulary.vocab_size == 35
  tokens, mask = tokenizer.PromptTokenizer(vocabulary, 50, True)(
    'fold the\ncup', np.array([-1 + 5 / 256, -0.57])
  )
  np.testing.assert_array_equal(tokens[mask], [2, *ids])
  np.testing.assert_array_equal(tokens[~mask], 0)


def test_a_tokenizer_file_that_is_missing_is_named_with_where_to_get_it(tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    tokenizer.SentencePiece(tmp_path / 'paligemma.model')
  message = str(error.value)
  assert message.startswith(f'{tmp_path / "paligemma.model"}: no such file')
  assert 'config.actor.tokenizer' in message
  assert 'gs://big_vision/paligemma_tokenizer.model' in message
  assert 'https://storage.googleapis.com/big_vision/paligemma_tokenizer.model' in message


@pytest.mark.parametrize('content', [b'', b'{"model": {}}'])
def test_a_file_that_holds_no_sentencepiece_model_is_refused(content, tmp_path):
  path = tmp_path / 'tokenizer.model'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='tokenizer.model: not a SentencePiece model'):
    tokenizer.SentencePiece(path)
