"""XLA text, read: sizes in memory, operands, whom an instruction calls."""

import pytest

from slan_jax.evaluation import hlo

TEXT = """HloModule jit_f, is_scheduled=true

%fused (p.0: bf16[4,32]) -> bf16[4,32] {
  %p.0 = bf16[4,32]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %twice = bf16[4,32]{1,0:T(8,128)(2,1)} add(%p.0, %p.0)
}

ENTRY %main (x: bf16[4,32]) -> (f32[3], s32[]) {
  %x = bf16[4,32]{1,0:T(8,128)(2,1)S(1)} parameter(0), sharding={replicated}
  %f = bf16[4,32]{1,0:T(8,128)(2,1)} fusion(%x), kind=kLoop, calls=%fused
  %pair = (f32[3]{0:T(128)}, /*index=1*/s32[]{:S(2)}) custom-call(%f, %x)
  ROOT %out = (f32[3]{0}, s32[]) tuple(%pair)
}
"""


def test_program():
  program = hlo.parse(TEXT)
  assert program.entry == "main"
  main = program.computations["main"]
  assert [i.opcode for i in main] == [
    "parameter",
    "fusion",
    "custom-call",
    "tuple",
  ]
  assert main.root == "out"
  fusion = main.instructions["f"]
  assert fusion.calls("calls") == ["fused"]
  assert fusion.operands == ("x",)
  assert [user.name for user in main.users["x"]] == ["f", "pair"]
  assert hlo.read_by(fusion, main) == list(main.instructions["x"].arrays)


def test_arrays():
  main = hlo.parse(TEXT).computations["main"]
  # Two bytes each, padded to whole tiles of 8 x 128; S(1) is a scratchpad.
  (x,) = main.instructions["x"].arrays
  assert (x.dtype, x.shape, x.bytes, x.main) == ("bf16", (4, 32), 2048, False)
  (f,) = main.instructions["f"].arrays
  assert f.main
  first, second = main.instructions["pair"].arrays
  assert (first.shape, first.bytes) == ((3,), 512)
  assert (second.shape, second.bytes, second.main) == ((), 4, False)
  # Without tiles as it stands.
  assert main.instructions["out"].arrays[0].bytes == 12


def test_what_is_no_program():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo.parse("HloModule empty\n")
