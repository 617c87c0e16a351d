"""Costs of compiled programs, by hand and of programs that XLA compiled."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from slan_jax.evaluation import hlo, hlo_collective, hlo_cost

PEAK, BANDWIDTH = 1e12, 1e9


def measure(text: str) -> hlo_cost.Cost:
  return hlo_cost.measure(hlo.parse(text), flops=PEAK, bandwidth=BANDWIDTH)


def entry(*lines: str, before: str = "") -> str:
  """A program whose entry has the given instructions."""
  body = "\n".join(f"  {line}" for line in lines)
  return f"{before}\nENTRY %main (x: f32[8]) -> f32[8] {{\n{body}\n}}\n"


def test_a_loop_that_xla_compiled():
  """Five products of 16 x 16 by 16 x 16 and one of 16 x 16 by 16 x 4."""

  def run(x, w, last):
    x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=5)
    return x @ last

  square = jax.ShapeDtypeStruct((16, 16), jnp.float32)
  last = jax.ShapeDtypeStruct((16, 4), jnp.float32)
  text = jax.jit(run).lower(square, square, last).compile().as_text()
  cost = measure(text)
  assert cost.flops == 2 * 16**2 * (5 * 16 + 4)
  assert cost.unknown_loops == 0
  # Each turn reads and writes at least its operands and its result.
  assert cost.bytes >= 5 * 3 * 4 * 16**2
  assert cost.seconds == pytest.approx(cost.bytes / BANDWIDTH, rel=1e-3)


def test_collectives_that_xla_inserted():
  """The mean over a split axis is an all-reduce of what each device holds."""
  mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
  spec = jax.ShapeDtypeStruct(
    (8, 64), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("a"))
  )
  whole = NamedSharding(mesh, PartitionSpec())
  program = jax.jit(lambda x: x.sum(0), out_shardings=whole).lower(spec)
  cost = measure(program.compile().as_text())
  assert {kind for kind, _ in cost.sent} == {"all-reduce"}
  ((_, group),) = cost.sent
  assert group == (0, 2, 4, 6)  # along "a"
  assert sum(cost.sent.values()) == 2 * 64 * 4 * 3 / 4


@pytest.mark.parametrize(
  ("attributes", "group"),
  [
    ("replica_groups={{0,2},{1,3}}, dimensions={0}", (0, 2)),
    ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
    ("replica_groups=[2,4]<=[4,2]T(1,0)", (0, 2, 4, 6)),
    ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
    ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", tuple(range(8))),
    ("replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}", (0, 2)),
    ("replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}", (0, 1)),
    (
      "replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}",
      (0, 1, 2, 3),
    ),
    (
      "replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}",
      (0, 4),
    ),
    ("source_target_pairs={{5,1},{8,2}}", (5, 1)),
  ],
)
def test_groups(attributes, group):
  assert hlo_collective._group(attributes) == group


def test_steps_of_one_collective_count_once():
  """TPUs spread a collective over the turns of a loop: one channel."""
  gather = "all-gather(%p), channel_id=7, replica_groups=[1,4]<=[4]"
  before = f"""
%body (p: f32[2]) -> f32[8] {{
  %p = f32[2]{{0}} parameter(0)
  ROOT %g = f32[8]{{0}} {gather}
}}

%condition (p: f32[2]) -> pred[] {{
  %p = f32[2]{{0}} parameter(0)
  %n = s32[] constant(9)
  ROOT %less = pred[] compare(%n, %n), direction=LT
}}
"""
  text = entry(
    "%p = f32[2]{0} parameter(0)",
    f"%first = f32[8]{{0}} {gather}",
    "ROOT %l = f32[8]{0} while(%p), condition=%condition, body=%body",
    before=before,
  )
  assert measure(text).sent == {("all-gather", (0, 1, 2, 3)): 32 * 3 / 4}
  alone = text.replace(
    f"%first = f32[8]{{0}} {gather}", "%c = s32[] constant(1)"
  )
  assert sum(measure(alone).sent.values()) == 9 * 32 * 3 / 4


def test_a_sum_of_which_parts_are_cut_is_scattered():
  """Sums of several arrays share channel 1, and are not steps of one."""
  two = "(f32[8]{0}, f32[8]{0})"
  cut = "dynamic_slice_sizes={2}"
  lines = ["%p = f32[8]{0} parameter(0)", "%i = s32[] constant(2)"]
  for n in (1, 2):
    lines += [
      f"%sum{n} = {two} all-reduce(%p, %p), channel_id=1, "
      "replica_groups={{0,1,2,3}}",
      f"%a{n} = f32[8]{{0}} get-tuple-element(%sum{n}), index=0",
      f"%b{n} = f32[8]{{0}} get-tuple-element(%sum{n}), index=1",
      f"%c{n} = f32[2]{{0}} dynamic-slice(%a{n}, %i), {cut}",
      f"%d{n} = f32[2]{{0}} dynamic-slice(%b{n}, %i), {cut}",
    ]
  text = entry(*lines, "ROOT %r = f32[2]{0} add(%c2, %d2)")
  size = 2 * 2 * 32 * 3 / 4
  assert measure(text).sent == {("reduce-scatter", (0, 1, 2, 3)): size}
  # Of one that is read whole the whole is sent.
  read = text.replace("add(%c2, %d2)", "add(%c2, %b2)")
  sent = measure(read).sent
  assert sent["all-reduce", (0, 1, 2, 3)] == size
  assert sent["reduce-scatter", (0, 1, 2, 3)] == size / 2


def test_convolution_meets_only_cells():
  """A product written as a convolution: 3 rows by 3 cells, mostly padding."""
  line = (
    "ROOT %c = f32[3,2]{1,0} convolution(%x, %w), "
    "window={size=3 pad=2_2 rhs_reversal=1}, dim_labels=0f_0io->0b"
  )
  # 1D: outputs 5 = 3 + 2 + 2 - 2; each kernel cell meets three input cells.
  text = entry(
    "%x = f32[1,3,4]{2,1,0} parameter(0)",
    "%w = f32[3,4,2]{2,1,0} parameter(1)",
    line.replace("0f_0io->0b", "b0f_0io->b0f").replace(
      "[3,2]{1,0}", "[1,5,2]{2,1,0}"
    ),
  )
  assert measure(text).flops == 2 * 9 * 4 * 2
  dilated = text.replace("pad=2_2", "pad=2_2 lhs_dilate=2").replace(
    "[1,5,2]", "[1,7,2]"
  )
  assert measure(dilated).flops == 2 * 9 * 4 * 2
  strided = text.replace("pad=2_2", "stride=2 pad=2_2").replace(
    "1,5,2", "1,3,2"
  )
  assert measure(strided).flops == 2 * 5 * 4 * 2


FUSED = """
%fused (stack: f32[9,100], place: s32[], new: f32[1,100]) -> f32[9,100] {
  %stack = f32[9,100]{1,0} parameter(0)
  %place = s32[] parameter(1)
  %new = f32[1,100]{1,0} parameter(2)
  %row = f32[1,100]{1,0} dynamic-slice(%stack, %place), dynamic_slice_sizes={1}
  %sum = f32[1,100]{1,0} add(%row, %new)
  ROOT %put = f32[9,100]{1,0} dynamic-update-slice(%stack, %sum, %place)
}
"""


def test_a_fusion_reads_and_writes_slices_alone():
  text = entry(
    "%stack = f32[9,100]{1,0} parameter(0)",
    "%place = s32[]{:S(2)} parameter(1)",
    "%new = f32[1,100]{1,0} parameter(2)",
    "ROOT %f = f32[9,100]{1,0} fusion(%stack, %place, %new), calls=%fused",
    before=FUSED,
  )
  assert measure(text).bytes == 3 * 400


def test_what_passes_through_a_fusion_is_no_traffic():
  before = """
%fused (flying: f32[500], x: f32[8]) -> (f32[8], f32[500]) {
  %flying = f32[500]{0} parameter(0)
  %x = f32[8]{0} parameter(1)
  %y = f32[8]{0} add(%x, %x)
  ROOT %t = (f32[8]{0}, f32[500]{0}) tuple(%y, %flying)
}
"""
  text = entry(
    "%flying = f32[500]{0} parameter(0)",
    "%x = f32[8]{0} parameter(1)",
    "ROOT %f = (f32[8]{0}, f32[500]{0}) fusion(%flying, %x), "
    "output_to_operand_aliasing={{1}: (0, {})}, calls=%fused",
    before=before,
  )
  assert measure(text).bytes == 2 * 32


def test_a_sum_that_is_cut_at_once_is_a_reduce_scatter():
  line = "%s = f32[8]{0} all-reduce(%x), replica_groups=[1,4]<=[4]"
  text = entry(
    "%x = f32[8]{0} parameter(0)",
    "%place = s32[] parameter(1)",
    line,
    "ROOT %mine = f32[2]{0} dynamic-slice(%s, %place), dynamic_slice_sizes={2}",
  )
  group = (0, 1, 2, 3)
  assert measure(text).sent == {("reduce-scatter", group): 32 * 3 / 4}
  kept = text.replace("dynamic-slice(%s, %place)", "add(%s, %s)")
  assert measure(kept).sent == {("all-reduce", group): 2 * 32 * 3 / 4}


@pytest.mark.parametrize("written", ("async", "short", "dynamic"))
def test_a_slice_into_the_scratchpad_is_read_once(written):
  """However the text spells it, and only the slice of its source."""
  array, part = "f32[64,4]{1,0}", "f32[8,4]{1,0:S(1)}"
  cut = "slice={[0:8], [0:4]}"
  inner, begin = "", f"slice-start(%a), {cut}"
  if written == "async":
    inner = (
      f"%cut (p: f32[64,4]) -> f32[8,4] {{\n  %p = {array} parameter(0)\n"
      f"  ROOT %s = {part} slice(%p), {cut}\n}}\n\n"
    )
    begin = "async-start(%a), calls=%cut"
  names = f"({array})"
  if written == "dynamic":
    names = f"({array}, s32[], s32[])"
    begin = "dynamic-slice-start(%a, %i, %i), dynamic_slice_sizes={8,4}"
  text = (
    f"HloModule m\n\n{inner}ENTRY %main (a: f32[64,4]) -> f32[8,4] {{\n"
    f"  %a = {array} parameter(0)\n"
    "  %i = s32[] constant(0)\n"
    f"  %b = ({names}, {part}, s32[]{{:S(2)}}) {begin}\n"
    f"  ROOT %c = {part} {begin.split('-start')[0]}-done(%b)\n}}\n"
  )
  cost = hlo_cost.measure(hlo.parse(text), flops=1.0, bandwidth=1.0)
  assert cost.bytes == 8 * 4 * 4
  assert cost.seconds == 0  # others run meanwhile
