"""Every knob of the project, once, with its meaning and unit.

The values are the preset `paper`: the paper's own words where it speaks, our
reading where it is silent ("silence:" names the options). Other files are this
one plus a flat table of overrides.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The full configuration, unlocked so that presets may change it."""
  config = ml_collections.ConfigDict()
  config.task = "pretrain"  # what is trained; slan_jax/jobs/catalog.py has all
  config.seed = 0  # of initialisation, data order, masking and negatives
  config.total_steps = 293_000  # optimiser steps; 20 epochs of ViT-B (4.1)
  config.batch_size = 960  # image-text pairs per step over all devices (4.1)
  config.microbatches = 1  # encoder passes a batch is cut into (exact)
  config.compilation_cache = ""  # directory of compiled programs; "" = none
  config.init_from = _init_from()
  config.data = _data()
  config.text = _text()
  config.model = _model()
  config.objective = _objective()
  config.localisation = _localisation()
  config.detection = _detection()
  config.grounding = _section(  # rows of fine-tuning
    phrases=16,  # of a caption at most, the first ones
    boxes=8,  # of a phrase at most, the largest ones
  )
  config.video = _section(
    frames=8,  # m of a clip (4.2.5); silence, as BLIP
    choice="uniform",  # or "random"; the paper: "randomly select"
  )
  config.optimizer = _optimizer()
  config.mesh = _section(
    # Devices; -1 = all that remain, and one device is then always enough.
    data=-1,  # that split the batch
    fsdp=1,  # that split batch and parameters
    # Split parameters are made whole once a "step", in compute_dtype, or for
    # each "layer" that uses them: less memory, more traffic.
    gather="step",
    cpu_devices=1,  # devices a CPU counts as, so that all its cores work
  )
  config.checkpoint = _section(
    every_steps=1000,  # optimiser steps between saves
    keep=3,  # newest checkpoints kept beside the best
  )
  config.log = _section(every_steps=50)  # optimiser steps between log lines
  config.evaluation = _evaluation()
  config.captioning = _captioning()
  config.vqa = _vqa()
  return config


def override(config: ml_collections.ConfigDict, values: dict) -> None:
  """Sets keys such as "model.width", which must exist, to values."""
  with config.ignore_type():
    config.update_from_flattened_dict(values)


def _section(**values) -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(values)


def _init_from() -> ml_collections.ConfigDict:
  """What a new run starts from; "" = random.

  `run` is a model of ours, as fine-tuning starts from pre-training. The others
  are published weights: a hub directory, safetensors or state dict; or a
  directory that slan-export wrote, of which the part of that name is read. The
  paper's vision encoders start at random (4.1); ALBEF and BLIP start theirs
  from ImageNet. All keys and shapes of a file or run must fit.
  """
  return _section(
    # Work directory, or directory that slan-export wrote. Positions of another
    # image size are resized; heads that a task adds start at random.
    run="",
    checkpoint="last",  # of that work directory: step, "last" or "best"
    text="",  # BERT; its tokenizer belongs into text.tokenizer
    language_head="",  # of masked language modelling, of the same BERT
    backbone="",  # ViT or ResNet, as model.backbone.name
    detector="",  # DETR's transformer; the saliency head starts at random
    resize_positions=False,  # of a ViT trained at another image size
    ignore=(),  # starts of names in these files that are passed over
  )


def _data() -> ml_collections.ConfigDict:
  return _section(
    dir="",  # directory made by `python -m data.prepare`
    # Sources of training in place of dir: (name, directory, weight), ... with
    # weights in any unit; () = dir alone. Evaluation, tokenizer and word
    # classes stay those of dir. The paper's: configs/pretrain.py, TABLE_8.
    mixture=(),
    train_split="train",
    evaluation_split="val",  # scored during training
    crop_scale=(0.2, 1.0),  # area of the random resized crop; silence, as BLIP
    # Decode a JPEG at 1/2, 1/4 or 1/8 where its crop still has a pixel for
    # every one of model.image_size; off = always at full size.
    reduced_decode=True,
    flip=True,  # caption-aware horizontal flip; silence
    randaugment=(2, 5),  # operations, magnitude of 10; (0, 0) = off; as BLIP
    caption="random",  # caption drawn at each visit: "random" or "first"
    threads=8,  # reader threads of this host
    prefetch=4,  # batches prepared ahead
  )


def _text() -> ml_collections.ConfigDict:
  return _section(
    # A local directory, a hub name (bert-base-uncased is the paper's), or
    # "dataset" = the one that preparation put into data.dir.
    tokenizer="dataset",
    max_length=32,  # tokens with [CLS] and [SEP]
    hard_negatives=0,  # addition: captions per image with one word swapped
    word_classes="dataset",  # JSON of word classes; falls back to the built-in
  )


def _model() -> ml_collections.ConfigDict:
  model = _section(
    width=768,  # D of words and regions
    image_size=224,  # pixels, square (4.1)
    image_mean=(0.48145466, 0.4578275, 0.40821073),  # CLIP's, as BLIP uses
    image_std=(0.26862954, 0.26130258, 0.27577711),
    compute_dtype="bfloat16",  # of activations; parameters stay float32
    remat="none",  # activations recomputed per layer: "none", "dots", "full"
    backbone=_section(
      name="vit_b",  # a row of slan_jax.models.config.BACKBONES
      norm="default",  # "group", "layer", "frozen_batch"; "default" = the row's
    ),
    text=_section(  # BERT-base (3.1)
      vocab_size=-1,  # -1 = read from the tokenizer
      layers=12,
      heads=12,
      mlp_width=3072,
      max_positions=512,
      function_ids=(),  # tokens that end a phrase; read from the tokenizer
    ),
    generator=_section(layers=12, heads=12, mlp_width=3072),
  )
  model.pyramid = _section(
    source="decoder",  # "decoder" (3.2.1), "encoder" (Table 10), "fpn"
    scales=(1, 2, 4),  # sides of F_1..F_L over the side of V
    convs=2,  # 3x3 convolutions per level
  )
  model.detector = _section(  # DETR (3.2)
    encoder_layers=6,
    decoder_layers=6,
    width=256,
    heads=8,
    mlp_width=2048,
    queries=100,  # about 100 proposals (3.2.2)
    # "learned" queries as DETR; addition: boxes as offsets from a "grid".
    reference="learned",
    reference_size=0.25,  # side of a grid reference, fraction of the image
  )
  model.filter = _section(
    top=10,  # T (Table 6)
    threshold=0.5,  # h, strict (Table 6)
    normalise="max",  # maximum 1 (3.2.2); silence: "max", "minmax", "softmax"
    # Silence: does v_cls train the saliency? The paper only says "weight".
    saliency_gradient=True,
    add_query=False,  # addition: query state joins the region embedding
    add_position=False,  # addition: sine of the box joins it
  )
  model.adaptor = _section(
    levels=3,  # L (3.2.3)
    grid=3,  # K; silence, odd
    windows=(1.0, 0.5, 0.25),  # r_i (4.1)
    # Unit of each r_i: "image" (4.1 read literally) or "box".
    window_units=("image", "image", "image"),
    window_bounds=(0.0, 1.0),  # clip of a box-relative window, of the image
    roi_size=7,  # bins of RoIAlign; silence
    sampling_ratio=2,  # samples per bin side; silence
    order="similarity_first",  # or "embed_first": equal, see benchmarks
    # s_j over "tokens" without [CLS] and [SEP], or "all" of them; the paper
    # says "all word embeddings". Addition: "phrases".
    words="tokens",
    # s_j: "softmax" (of cosine / temperature), "raw" cosine; addition:
    # "extent", a soft mask of the cells near the maximum.
    similarity="softmax",
    temperature=0.1,  # of that softmax
    swap_axes=False,  # Eq. 2 read to the letter swaps x and y
    pitch="cell",  # H_j, W_j = window / K; "window" = the whole; silence
    # "scale": learned p_w, p_h per level; addition: "soft_extent".
    size="scale",
    # Silence: centres stay in the image, sides between min_size and 1. False:
    # no clipping, as printed.
    clip_boxes=True,
    min_size=1e-3,  # fraction of the image
    differentiable_boxes=True,  # gradient of RoIAlign to boxes; silence
    # Eq. 1 "literal", "bi_mha" (GLIP's form); addition: "residual".
    fusion="literal",
    heads=12,  # channel split of Eq. 1's multi-head attention
    refine="overwrite",  # line 11 overwrites line 4; "add" keeps both
    # Whose similarity moves a region: "every" word's maximum at each cell
    # (3.2.3); additions: of its "best" phrase, or "mutual", where the best
    # region of each phrase takes that phrase.
    assignment="every",
    extent_threshold=0.25,  # extent: fraction of the region's maximum
    extent_softness=0.1,  # extent: width of the soft mask, same unit
    move_threshold=0.3,  # extent: regions with a weaker maximum stay
    centre_decay=4.0,  # assignment falls with exp(-decay * distance^2)
  )
  model.word_map = _section(
    enabled=False,  # addition: phrases matched on a low-level map
    width=256,  # channels of map and phrase vectors
    stride=8,  # pixels per cell (nearest backbone map)
    phrases=8,  # phrases read per caption
    phrase_window=4,  # tokens of a phrase: its head and those to its left
    # What the words around a phrase ("on the left", "above a star") say of its
    # place: a slope over the image side of at most this, per axis, added to the
    # cosine; 0 = nothing.
    place_bound=0.0,
    # Similarity spreads to places that are alike: in "features" of the finest
    # backbone map, in "appearance" (mean colour, -1..1); "none" = it does not.
    affinity="none",
    affinity_scale=18.0,  # per squared difference of unit features or colours
    affinity_distance=10.0,  # per squared distance, image side = 2
    affinity_window=5,  # cells of the map around a cell, per side
    affinity_upsample=2,  # finer side of the spread map
    competition=0.0,  # a phrase fades where another leads; per unit of lead
    peak_sharpness=0.0,  # fit of a box counts the share of the peak inside
    # Words read the map where their phrase is, at softmax(this * its map), and
    # regions inside their boxes; 0 = they do not.
    read_sharpness=0.0,
  )
  model.heads = _section(
    embed_dim=256,  # of ITC; silence, as ALBEF
    # v_cls of ITM, which 3.2 and line 13 tell otherwise: pool of the "adapted"
    # E_L^G, or of the "filtered" E_0^G, which is that of ITC.
    matching_regions="adapted",
    evidence=False,  # addition: ITM reads region-phrase similarities
  )
  return model


def _objective() -> ml_collections.ConfigDict:
  return _section(
    # Weights of Eq. 8 and 9.
    itc=1.0,
    itm=1.0,
    mlm=1.0,
    lm=0.0,  # addition: causal modelling by the text decoder
    reg=1.0,
    phrase=0.0,  # addition: max-pooled phrase-map contrast
    saliency=0.0,  # addition: saliency follows phrase similarity
    # Part of the run with only ITC and phrase contrast, 0..1; addition.
    unimodal_fraction=0.0,
    queue_size=57_600,  # I_q, T_q (Eq. 5); silence, as BLIP; 0 = in-batch
    momentum=True,  # keys from the EMA encoder; silence, as ALBEF
    temperature=0.07,  # initial tau (Eq. 5), learned within [.001, .5]
    soft_targets=0.0,  # ALBEF's alpha; the paper's Eq. 6 has hard targets
    # Other captions of a row's image: right answers too, as ALBEF and BLIP
    # fine-tune retrieval, or passed over (False).
    image_targets=False,
    mask_rate=0.15,  # of tokens (Eq. 7)
    lm_smoothing=0.1,  # label smoothing of the causal term, as BLIP
    reg_l1=1.0,  # Eq. 3
    reg_giou=1.0,
    # Silence: "kept" regions, or all "slots" of the filter, those that fell to
    # the threshold as well; with model.filter.top = queries, all proposals.
    reg_regions="kept",
    reg_stop_gradient=True,  # of the target; silence
    # Addition: L_reg only for regions that a phrase confirms.
    reg_confirmed=False,
    reg_max_shift=1.0,  # of those, centres that moved less, image side = 1
    # Silence: ITM's negatives are hard texts and hard images, as ALBEF. False:
    # each image gets a second text in place of a hard image for each text, so
    # that no image travels between devices.
    hard_images=True,
    # Neighbouring rows among which they are drawn; 0 = the whole batch. What
    # negatives send between devices grows with it.
    negative_pool=0,
    # Addition: a caption with one word changed is a negative of ITC and ITM.
    swapped_words=False,
    phrase_sharpness=10.0,  # of the soft maximum over positions
  )


def _localisation() -> ml_collections.ConfigDict:
  """Detection and grounding fine-tuned on boxes; silence, as MDETR."""
  return _section(
    # Regions kept of an image, 0 = every query, and their h: with the T = 10 of
    # pre-training no image could have more than ten boxes.
    top=0,
    threshold=0.0,
    temperature=0.1,  # initial, of the cosines of regions and tokens; learned
    nothing=0.3,  # initial cosine of regions that the text does not name
    fit=True,  # addition, of word_map: scores count the fit to the phrase's map
    cost_tokens=1.0,  # of the matcher
    cost_l1=5.0,
    cost_giou=2.0,
    tokens=1.0,  # weights of the losses
    l1=5.0,
    giou=2.0,
    nothing_weight=0.1,  # of regions without a box
    auxiliary=1.0,  # of G_0..G_(L-1), beside G_L
  )


def _detection() -> ml_collections.ConfigDict:
  return _section(
    # Names to detect, numbered as in data.dir; () = the classes of data.dir.
    classes=(),
    opening="detect: ",  # of the prompt (4.2.6)
    separator=", ",  # between its names; GLIP's is ". "
    prompt_classes=0,  # names of a prompt at most; 0 = as many as fit
    max_length=256,  # tokens of a prompt, but never beyond text.max_positions
    boxes=100,  # objects of a training image at most, the largest ones
    # IoU above which a better region of the same class suppresses one; 0 =
    # never. Silence; the adaptor draws several regions to one object.
    nms=0.5,
    most=100,  # boxes reported of an image, as COCO counts them
  )


def _optimizer() -> ml_collections.ConfigDict:
  return _section(
    learning_rate=3e-4,  # peak (4.1)
    warmup_steps=3000,  # silence, as BLIP
    decay="linear",  # after the peak (4.1); "cosine" = as BLIP fine-tunes
    final_fraction=0.0,  # of the peak at the last step: to 0 (4.1)
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.05,  # not on 1-D parameters; silence, as BLIP
    clip_norm=1.0,  # of the global gradient; silence
    ema_decay=0.995,  # 0 = no EMA copy; silence, as ALBEF
    max_skipped=20,  # non-finite steps in a row that are too many: then the
    # run goes back to the last good checkpoint and on with the data after
    max_rollbacks=1,  # the failure, this many times before it stops
    # Regular expressions: what they find in a parameter's path stays as it
    # was initialised. ("^slan/detector/",) is Table 5's frozen detector.
    frozen=(),
  )


def _evaluation() -> ml_collections.ConfigDict:
  return _section(
    every_steps=0,  # optimiser steps between evaluations; 0 = never
    # First records that these score; 0 = all. Retrieval and pre-training
    # score the first gallery instead.
    records=0,
    batch_size=50,  # images or texts per encoder call
    pair_batch_size=100,  # image-text pairs per re-ranking call
    # Of encoded images kept on the devices, and of encoded texts in host
    # memory; more are encoded again.
    cache_bytes=2**31,
    galleries=(1000,),  # images per gallery; the first is the headline
    texts_per_image=0,  # first texts of each image in a gallery; 0 = all
    top_k=128,  # candidates that ITM re-ranks, as BLIP on Flickr30k
    # First stage: "itc" or "itc+phrase"; score: "itm", "sum", "stage1".
    first_stage="itc",
    score="sum",  # ITM + first stage, as BLIP
    use_ema=False,  # score the EMA copy
  )


def _captioning() -> ml_collections.ConfigDict:
  """Used by the task captioning; `write` by all that learned captions."""
  return _section(
    # Begins every caption and is the locator's text; silence, as BLIP. A run
    # that was not fine-tuned behind it writes without.
    prompt="a picture of",
    smoothing=0.1,  # label smoothing, as BLIP
    write=_writing(shortest=5, longest=20),
  )


def _vqa() -> ml_collections.ConfigDict:
  """Used by the task vqa alone."""
  return _section(
    answers=10,  # of a question in training, the most frequent ones
    answer_length=10,  # tokens of an answer with [CLS] and [SEP]
    smoothing=0.1,  # label smoothing, as BLIP
    # "rank" the list of answers, or "generate" any words; silence, as BLIP.
    inference="rank",
    rank_first=128,  # answers of the list that are read whole, as BLIP
    rank_chunk=16,  # of these at a time
    write=_writing(shortest=1, longest=10),
  )


def _writing(shortest: int, longest: int) -> ml_collections.ConfigDict:
  return _section(
    search="beam",  # or "nucleus" sampling
    beams=3,  # as BLIP
    top_p=0.9,  # nucleus: share of the probability that is drawn from
    shortest=shortest,  # tokens, prompt and marks not counted
    longest=longest,
    # CTRL's: 1 = none; BLIP takes 1.1 on NoCaps.
    repetition_penalty=1.0,
  )
