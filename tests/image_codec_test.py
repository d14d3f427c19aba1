"""Images keep their pixels through PNG and nearly so through JPEG; odd ones are named."""

import io

import numpy as np
from PIL import Image
import pytest

from aloe_jax.data import image_codec


def gradient(height=24, width=32):
  """A smooth image whose colours tell rows from columns and red from blue."""
  row, column = np.mgrid[:height, :width]
  return np.stack([row * 4, column * 3, 255 - row * 4], axis=-1).astype(np.uint8)


def png(image):
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, 'png')
  return buffer.getvalue()


def test_a_png_is_decoded_exactly():
  np.testing.assert_array_equal(image_codec.decoded([png(gradient())])[0], gradient())


def test_an_array_becomes_jpegs_of_nearly_its_pixels():
  frames = np.stack([gradient(), gradient()[::-1]])
  encoded = image_codec.encoded(frames)
  assert all(frame.startswith(b'\xff\xd8') for frame in encoded)
  np.testing.assert_allclose(image_codec.decoded(encoded).astype(int), frames, atol=4)


def test_what_is_encoded_or_decoded_already_stays_as_it_is():
  encoded = [png(gradient())]
  assert image_codec.encoded(encoded) == encoded
  frames = gradient()[None]
  np.testing.assert_array_equal(image_codec.decoded(frames), frames)


def test_a_grey_image_is_decoded_to_three_equal_channels():
  grey = gradient()[..., 0]
  np.testing.assert_array_equal(
    image_codec.decoded([png(grey)])[0], np.repeat(grey[..., None], 3, axis=-1)
  )


def test_the_format_is_read_from_the_header():
  assert image_codec.common_format([png(gradient(6, 9))] * 2) == ('png', 6, 9)
  frames = gradient(6, 9)[None]
  assert image_codec.common_format(image_codec.encoded(frames)) == ('jpeg', 6, 9)
  assert image_codec.common_format(frames) == ('jpeg', 6, 9)


@pytest.mark.parametrize(
  'frames, message',
  [
    (
      [png(gradient()), png(gradient(8, 8))],
      r"step 1: found \('png', 8, 8\), expected \('png', 24",
    ),
    ([png(gradient()), b'GIF89a'], 'step 1: found neither JPEG nor PNG'),
    (gradient(), r'found uint8 \[24, 32, 3\], expected uint8 \[T, H, W, 3\]'),
    (gradient()[None] / 255, 'found float64'),
  ],
)
def test_an_image_unlike_the_others_is_named(frames, message):
  with pytest.raises(ValueError, match=message):
    image_codec.common_format(frames)
