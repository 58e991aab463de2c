# The embedded world, and the small models that were trained on it once.


# The parts of its table are no outputs: with `miniature.parts` raised, one that nobody asked for would
# have no record yet, and Snakemake compares params only where all outputs have theirs.
rule make_world:
    output:
        world="results/miniature/world.parquet",
        manifest="results/miniature/laion.tsv",
        countbench="results/miniature/countbench.json",
    log:
        "logs/make_world.log",
    benchmark:
        cost("make_world")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("make_world"),
        spec=spec("miniature"),
    script:
        "../scripts/make_world.py"


# What a user would bring along: pictures in a folder and a CSV of what they show.
rule make_own_benchmark:
    output:
        table="results/miniature/own/benchmark.csv",
        pictures=directory("results/miniature/own/pictures"),
    log:
        "logs/make_own_benchmark.log",
    benchmark:
        cost("make_own_benchmark")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("make_own_benchmark"),
        spec=spec(),
    script:
        "../scripts/make_own_benchmark.py"


# What else one would ask a model, kept as such data is kept.
rule draw_retention:
    output:
        things=directory("results/miniature/retention/things"),
        pairs=directory("results/miniature/retention/pairs"),
        captions="results/miniature/retention/captions.tsv",
        digests="results/miniature/retention/digests.tsv",
    log:
        "logs/draw_retention.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("draw_retention"),
        spec=spec(),
    script:
        "../scripts/draw_retention.py"


# People of all ages, the ordinal set of the miniature.
rule draw_people:
    output:
        table="results/miniature/ordinal/people.csv",
        images=directory("results/miniature/ordinal/people"),
    log:
        "logs/draw_people.log",
    benchmark:
        cost("draw_people")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("draw_people"),
        spec=spec(),
    script:
        "../scripts/draw_people.py"


# Signs in scenes with questions on them, the reading set of the miniature.
rule draw_signs:
    output:
        train="results/miniature/reading/train.json",
        train_ocr="results/miniature/reading/train_ocr.json",
        validation="results/miniature/reading/validation.json",
        validation_ocr="results/miniature/reading/validation_ocr.json",
        images=directory("results/miniature/reading/images"),
    log:
        "logs/draw_signs.log",
    benchmark:
        cost("draw_signs")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("draw_signs", "resources/miniature/words.csv"),
        spec=spec("miniature_signs.train", "miniature_signs.validation"),
    script:
        "../scripts/draw_signs.py"


# Single words, each on a sign, to see which are read.
rule draw_words:
    output:
        table="results/miniature/reading/words.csv",
        images=directory("results/miniature/reading/words"),
    log:
        "logs/draw_words.log",
    benchmark:
        cost("draw_words")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("draw_words", "resources/miniature/words.csv"),
        spec=spec("miniature_signs.words"),
    script:
        "../scripts/draw_words.py"


# Sheets of stickers with captions, to pretrain on, and unseen ones of one sticker, to classify.
rule draw_stickers:
    output:
        pairs=directory("results/miniature/stickers/pairs"),
        test=directory("results/miniature/stickers/test"),
        digests="results/miniature/stickers/digests.tsv",
    log:
        "logs/draw_stickers.log",
    benchmark:
        cost("draw_stickers")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("draw_stickers"),
        spec=spec("soft_labels.pretraining.pairs.number"),
    script:
        "../scripts/draw_stickers.py"


# No part of the main job: `make miniature-models` runs it and copies what it makes to resources/.
rule train_miniature_detector:
    output:
        onnx="results/miniature_models/detector/yolov8.onnx",
        recipe="results/miniature_models/detector/recipe.json",
    log:
        "logs/train_miniature_detector.log",
    benchmark:
        cost("train_miniature_detector")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        *code("train_miniature_detector"),
        spec=spec("miniature_detector"),
    script:
        "../scripts/train_miniature_detector.py"


rule pretrain_miniature_clip:
    output:
        config="results/miniature_models/clip/miniature-vit.json",
        merges="results/miniature_models/clip/miniature-vit.merges.txt.gz",
        weights="results/miniature_models/clip/miniature-vit.safetensors",
        history="results/miniature_models/clip/history.csv",
        recipe="results/miniature_models/clip/recipe.json",
    log:
        "logs/pretrain_miniature_clip.log",
    benchmark:
        cost("pretrain_miniature_clip")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        *code("pretrain_miniature_clip"),
        spec=spec("miniature_clip"),
    script:
        "../scripts/pretrain_miniature_clip.py"


rule pretrain_reading_clip:
    output:
        config="results/miniature_models/reading_clip/reading-vit.json",
        merges="results/miniature_models/reading_clip/reading-vit.merges.txt.gz",
        weights="results/miniature_models/reading_clip/reading-vit.safetensors",
        history="results/miniature_models/reading_clip/history.csv",
        recipe="results/miniature_models/reading_clip/recipe.json",
    log:
        "logs/pretrain_reading_clip.log",
    benchmark:
        cost("pretrain_reading_clip")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        *code("pretrain_reading_clip"),
        spec=spec("miniature_reading_clip"),
    script:
        "../scripts/pretrain_reading_clip.py"
