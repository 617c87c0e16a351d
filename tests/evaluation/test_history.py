"""Records survive a restart and a torn line."""

from slan_jax.evaluation import history


def test_later_records_of_a_step_win(tmp_path):
  path = tmp_path / history.EVALUATIONS
  path.write_text(
    '{"step": 20, "i2t_r1": 5.0, "pointing": 1.0}\n'
    '{"step": 0, "i2t_r1": 1.0}\n'
    '{"step": 20, "i2t_r1": 7.0}\n'
    '{"step": 30, "i2t'
  )
  assert history.load_history(path) == [
    {"step": 0, "i2t_r1": 1.0},
    {"step": 20, "i2t_r1": 7.0, "pointing": 1.0},
  ]
  assert history.load_history(tmp_path / "none.jsonl") == []
