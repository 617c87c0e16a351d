"""The loss of captions, against the decoder's own logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from slan_jax.models.memory import caption_memory
from slan_jax.models.slan import Slan
from slan_jax.tasks import captioning
from slan_jax.tasks.config import Batch, Captioning, Marks, Writing
from tests.models.small import LENGTH, small_config
from tests.slan_torch import pair

MARKS = Marks(**pair.TOKENS)
PROMPT = (5, 6)


def test_words_behind_the_prompt_are_learned_and_the_prompt_is_not():
  # More phrases than the prompt has tokens.
  cfg, objective = small_config(
    "scenes",
    model__text__vocab_size=12,
    model__text__function_ids=(0, 1, 2, 3),
    model__word_map__phrases=6,
  )
  options = Captioning("", 0.1, Writing("beam", 2, 0.9, 1, 4, 1.0))
  shape = Batch(2, LENGTH, 0, mask_id=4, microbatches=2)
  task = captioning.make_task(cfg, objective, options, shape, MARKS, PROMPT)
  text = np.array([[2, 5, 6, 8, 9, 3, 0, 0], [2, 5, 6, 7, 3, 0, 0, 0]])
  batch = {
    "image": pair.inputs(cfg)[0][:2],
    "text": text.astype(np.int32),
    "text_mask": text != 0,
  }
  assert {k: (v.shape, v.dtype) for k, v in task.batch_spec.items()} == {
    k: (v.shape, v.dtype) for k, v in batch.items()
  }

  @jax.jit
  def run(params, batch):
    call = functools.partial(Slan(cfg).apply, {"params": params["slan"]})
    image = call(batch["image"], method="encode_image")
    prompt = jnp.array([[MARKS.cls, *PROMPT, MARKS.sep, 0, 0, 0]] * 2)
    words = call(prompt, prompt > 0, method="encode_text")
    located = call(image, words, method="locate")
    memory = caption_memory(image, located.regions)
    logits = call(batch["text"], batch["text_mask"], *memory, method="generate")
    loss = task.loss(
      params, {}, {}, batch, key=jax.random.key(0), step=jnp.int32(0), stage=0
    )
    return jax.nn.log_softmax(logits, axis=-1), loss

  log_p, (total, (metrics, _)) = run(pair.params(cfg), batch)
  wanted, right, count = 0.0, 0, 0
  for row, ids in enumerate(text):
    for place in range(len(PROMPT) + 1, list(ids).index(MARKS.sep) + 1):
      here = np.asarray(log_p)[row, place - 1]
      wanted -= 0.9 * here[ids[place]] + 0.1 * here.mean()
      right += here.argmax() == ids[place]
      count += 1
  assert count == 5  # three words and two ends
  np.testing.assert_allclose(metrics["lm"], (wanted, count), rtol=1e-4)
  np.testing.assert_allclose(metrics["token_accuracy"], (right, count))
  reg = objective.reg * metrics["reg"][0] / metrics["reg"][1]
  np.testing.assert_allclose(total, wanted / count + reg, rtol=1e-4)
