"""FLOPs, traffic and collectives that are read out of a compiled program's text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.dry_run import costs
from aloe_jax.dry_run import hlo


def read(function, *arguments):
  compiled = jax.jit(function).lower(*arguments).compile()
  return costs.of(hlo.parse(compiled.as_text())), compiled


def test_a_product_in_a_loop_counts_as_often_as_it_runs():
  x, w = np.ones((32, 64), np.float32), np.ones((5, 64, 64), np.float32)

  def scanned(x, w):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]

  found, compiled = read(scanned, x, w)
  assert found.flops == 5 * 2 * 32 * 64 * 64
  assert not found.unknown_loops
  assert compiled.cost_analysis()['flops'] < found.flops / 2  # what the compiler says: one body


def test_loops_inside_loops_multiply():
  def step(x, _):
    return jax.lax.fori_loop(0, 3, lambda _, x: jnp.sin(x @ x), x), None

  found, _ = read(lambda x: jax.lax.scan(step, x, None, length=4)[0], np.ones((16, 16), np.float32))
  assert found.flops == 12 * 2 * 16**3


def test_a_loop_whose_length_is_data_is_named_and_counts_once():
  def until(x):
    return jax.lax.while_loop(lambda x: x.sum() < 1e6, lambda x: x @ x, x)

  found, _ = read(until, np.ones((16, 16), np.float32))
  assert found.flops == 2 * 16**3
  assert len(found.unknown_loops) == 1


def test_without_loops_the_numbers_are_the_compilers():
  def function(x, w, image, kernel):
    spread = jax.lax.conv_general_dilated(
      image, kernel, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    return x @ w, jnp.einsum('bij,bjk->bik', image[..., 0], image[..., 1]), spread

  shapes = (64, 128), (128, 32), (2, 20, 20, 3), (5, 5, 3, 7)
  found, compiled = read(function, *(np.ones(shape, np.float32) for shape in shapes))
  told = compiled.cost_analysis()
  np.testing.assert_allclose(found.flops, told['flops'], rtol=0.02)
  np.testing.assert_allclose(found.bytes, told['bytes accessed'], rtol=0.35)


def instruction(text, name='x'):
  return hlo._instruction(name, text, is_root=False)


@pytest.mark.parametrize(
  'left, right, text, expected',
  [
    # The TPU compiler's way of writing a batched product [16, 8, 4] x [16, 4, 5].
    (
      'f32[16,8,4]',
      'f32[16,4,5]',
      'f32[16,8,5]{2,1,0:T(8,128)} convolution(%l, %r), window={size=16 stride=15 lhs_dilate=16}, '
      'dim_labels=0bf_0io->0bf',
      2 * 16 * 8 * 4 * 5,
    ),
    # [16, 8] x [3, 8, 5], the three side by side, as a window that slides over padding.
    (
      'f32[16,8,1]',
      'f32[3,8,5]',
      'f32[16,5,3]{2,1,0} convolution(%l, %r), window={size=3 pad=2_2 rhs_reversal=1}, '
      'dim_labels=bf0_0io->bf0',
      2 * 16 * 8 * 5 * 3,
    ),
  ],
)
def test_windows_over_padding_cost_what_they_meet(left, right, text, expected):
  computation = {
    'l': instruction(f'{left} parameter(0)', 'l'),
    'r': instruction(f'{right} parameter(1)', 'r'),
  }
  assert costs._flops(computation, instruction(text)) == expected


TPU = """
HloModule jit_step

%fused.start (p: bf16[1,8]) -> (bf16[1,8], bf16[16,8]) {
  %p = bf16[1,8]{1,0:T(8,128)(2,1)} parameter(0)
  %gather.1 = bf16[16,8]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, \
replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
  ROOT %t = (bf16[1,8]{1,0}, bf16[16,8]{1,0}) tuple(%p, %gather.1)
}

%fused.goes.on (q: bf16[1,8]) -> bf16[16,8] {
  %q = bf16[1,8]{1,0} parameter(0)
  ROOT %gather.2 = bf16[16,8]{1,0} all-gather(%q), channel_id=7, \
replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0'}, dimensions={0}
}

%body (b: (u32[], bf16[1,8])) -> (u32[], bf16[1,8]) {
  %b = (u32[]{:T(128)}, bf16[1,8]{1,0}) parameter(0)
  %i = u32[]{:T(128)} get-tuple-element(%b), index=0
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%i, %two)
  %x = bf16[1,8]{1,0} get-tuple-element(%b), index=1
  %sent = bf16[1,8]{1,0} collective-permute(%x), channel_id=9, source_target_pairs={{0,1},{1,0}}
  %more = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%fused.goes.on
  ROOT %out = (u32[], bf16[1,8]{1,0}) tuple(%next, %sent)
}

%cond (c: (u32[], bf16[1,8])) -> pred[] {
  %c = (u32[]{:T(128)}, /*index=1*/bf16[1,8]{1,0}) parameter(0)
  %limit = u32[]{:T(128)} constant(8)
  %at = u32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%at, %limit), direction=LT
}

ENTRY %main (a: bf16[1,8]) -> bf16[1,8] {
  %a = bf16[1,8]{1,0} parameter(0)
  %zero = u32[]{:T(128)} constant(0)
  %start = (bf16[1,8]{1,0}, bf16[16,8]{1,0}) fusion(%a), kind=kCustom, calls=%fused.start
  %carried = (u32[]{:T(128)}, bf16[1,8]{1,0}) tuple(%zero, %a)
  %loop = (u32[]{:T(128)}, bf16[1,8]{1,0}) while(%carried), condition=%cond, body=%body
  ROOT %end = bf16[1,8]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_a_collective_that_overlaps_a_loop_counts_once_and_one_inside_as_often_as_it_runs():
  found = {c.kind: c for c in costs.collectives(hlo.parse(TPU))}
  assert found['all-gather'].times == 1
  assert found['all-gather'].group == 16
  assert found['all-gather'].bytes == 15 * 8 * 2
  assert found['collective-permute'].times == 4  # from 0 to 8 by 2
  assert found['collective-permute'].bytes == 4 * 8 * 2


NESTED = """
HloModule jit_step

%slice.of.layer (s: f32[9,4,8], i: s32[]) -> f32[4,8] {
  %s = f32[9,4,8]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %one = f32[1,4,8]{2,1,0} dynamic-slice(%s, %i, %zero, %zero), dynamic_slice_sizes={1,4,8}
  ROOT %b = f32[4,8]{1,0} bitcast(%one)
}

%update.of.layer (u: f32[9,4,8], x: f32[1,4,8], j: s32[]) -> f32[9,4,8] {
  %u = f32[9,4,8]{2,1,0} parameter(0)
  %x = f32[1,4,8]{2,1,0} parameter(1)
  %j = s32[] parameter(2)
  %nought = s32[] constant(0)
  ROOT %put = f32[9,4,8]{2,1,0} dynamic-update-slice(%u, %x, %j, %nought, %nought)
}

%product (w: f32[9,4,8], n: s32[], v: f32[2,4]) -> f32[2,8] {
  %w = f32[9,4,8]{2,1,0} parameter(0)
  %n = s32[] parameter(1)
  %v = f32[2,4]{1,0} parameter(2)
  %layer = f32[4,8]{1,0} fusion(%w, %n), kind=kLoop, calls=%slice.of.layer
  ROOT %d = f32[2,8]{1,0} dot(%v, %layer), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%kept (k: f32[9,4,8], y: f32[1,4,8], m: s32[]) -> f32[9,4,8] {
  %k = f32[9,4,8]{2,1,0} parameter(0)
  %y = f32[1,4,8]{2,1,0} parameter(1)
  %m = s32[] parameter(2)
  ROOT %r = f32[9,4,8]{2,1,0} fusion(%k, %y, %m), kind=kLoop, calls=%update.of.layer
}

ENTRY %main (a: f32[9,4,8], at: s32[], v: f32[2,4], y: f32[1,4,8]) -> f32[9,4,8] {
  %a = f32[9,4,8]{2,1,0} parameter(0)
  %at = s32[] parameter(1)
  %v = f32[2,4]{1,0} parameter(2)
  %y = f32[1,4,8]{2,1,0} parameter(3)
  %p = f32[2,8]{1,0} fusion(%a, %at, %v), kind=kOutput, calls=%product
  ROOT %o = f32[9,4,8]{2,1,0} fusion(%a, %y, %at), kind=kLoop, calls=%kept
}
"""


def test_of_what_is_sliced_in_a_fusion_of_a_fusion_the_slice_alone_is_traffic():
  layer, index = 4 * 8 * 4, 4
  product = layer + index + 2 * 4 * 4 + 2 * 8 * 4
  update = layer + index + layer  # what is put, read and written; all else stays where it is
  assert costs.of(hlo.parse(NESTED)).bytes == product + update


@pytest.mark.parametrize(
  'kind, expected',
  [
    ('all-gather', 3 * 64),
    ('all-reduce', 2 * 64 * 3 / 4),
    ('reduce-scatter', 64 * 3 / 4),
    ('all-to-all', 64 * 3 / 4),
    ('collective-permute', 64),
  ],
)
def test_bytes_are_those_that_a_device_has_to_receive(kind, expected):
  shape = (hlo.Shape('f32', (16,)),)
  assert costs.Collective(kind, shape, shape, group=4, times=1).bytes == expected


def test_a_text_without_a_program_is_refused():
  with pytest.raises(ValueError, match='the text has no ENTRY computation'):
    hlo.parse('HloModule nothing')
