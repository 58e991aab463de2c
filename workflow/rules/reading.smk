# Can CLIP read? Questions on the text in images, answered by similarity with a pool of answers.
#
# Needs: the config's `reading`: its questions and images, or the hub, and its model.
# Makes: results/reading/table.*: controls, readers with each kind of batch, OCR and ceilings; words.*,
# crops.*, overlap.* and figures; published.*, the published accuracies as counts of questions.
#
# Folders are no inputs, as their times mean nothing: a JSON with the digests of their files is. So
# the images of a user's folder count by their digests alone.

from countclip.experiments.reading import settings as reading

reading.check(config)


wildcard_constraints:
    split="train|validation",
    hard_on="image|question|answer|both",
    view=r"[a-z0-9_]+",


# ---- questions, images, pool ----


rule make_reading_manifest:
    output:
        manifest="results/reading/manifest.tsv",
    log:
        "logs/make_reading_manifest.log",
    benchmark:
        cost("make_reading_manifest")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("make_reading_manifest"),
        spec=spec(
            "network",
            "reading.repository",
            "reading.revision",
            "reading.endpoint",
        ),
    message:
        "list the files of TextVQA with their sizes and sha256"
    script:
        "../scripts/make_reading_manifest.py"


rule download_reading_split:
    input:
        manifest=config_inputs(reading.manifest(config)),
    output:
        folder=directory("results/reading/parquet/{split}"),
        files="results/reading/parquet/{split}.json",
    log:
        "logs/download_reading_split/{split}.log",
    benchmark:
        cost("download_reading_split/{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=720,
    params:
        *code("download_reading_split"),
        lambda wildcards: digests(*listed(config["reading"]["manifest"])),
        spec=spec("network", "reading.endpoint"),
    message:
        "download the {wildcards.split} split of TextVQA, as the manifest describes it"
    script:
        "../scripts/download_reading_split.py"


rule make_reading_split:
    input:
        files=lambda wildcards: config_inputs(*reading.files(config, wildcards.split)),
        ocr=lambda wildcards: config_inputs(*reading.ocr(config, wildcards.split)),
    output:
        questions="results/reading/{split}/questions.parquet",
        images="results/reading/{split}/images.parquet",
        summary="results/reading/{split}/summary.json",
    log:
        "logs/make_reading_split/{split}.log",
    benchmark:
        cost("make_reading_split/{split}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        *code("make_reading_split"),
        lambda wildcards: digests(
            *reading.files(config, wildcards.split),
            *reading.ocr(config, wildcards.split),
        ),
        spec=lambda wildcards: canonical(
            reading.split_settings(config, wildcards.split)
        ),
    message:
        "check the questions of the {wildcards.split} split"
    script:
        "../scripts/make_reading_split.py"


rule pack_reading_images:
    input:
        files=lambda wildcards: config_inputs(*reading.files(config, wildcards.split)),
        images="results/reading/{split}/images.parquet",
        model=config_inputs(*models.configs_of_model(config["reading"]["model"])),
    output:
        images="results/reading/{split}/{view}.npy",
        sizes="results/reading/{split}/{view}_sizes.parquet",
    log:
        "logs/pack_reading_images/{split}_{view}.log",
    benchmark:
        cost("pack_reading_images/{split}_{view}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        *code(
            "pack_reading_images",
            *models.configs_of_model(config["reading"]["model"]),
        ),
        lambda wildcards: digests(*reading.image_sources(config, wildcards.split)),
        spec=canonical(
            reading.source_settings(config)
            | models.packing(config["reading"]["model"])
        ),
    message:
        "pack the images of the {wildcards.split} split, view {wildcards.view}"
    script:
        "../scripts/pack_reading_images.py"


rule make_reading_pool:
    input:
        questions="results/reading/train/questions.parquet",
    output:
        pool="results/reading/pool.csv",
        summary="results/reading/pool.json",
    log:
        "logs/make_reading_pool.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_pool"),
        spec=spec("reading.pool"),
    script:
        "../scripts/make_reading_pool.py"


# ---- embeddings and clusters ----


rule embed_reading:
    input:
        questions=expand(
            "results/reading/{split}/questions.parquet", split=reading.SPLITS
        ),
        images=expand(
            "results/reading/{split}/{view}.npy",
            split=reading.SPLITS,
            view=config["reading"]["view"],
        ),
        pool="results/reading/pool.csv",
        model=config_inputs(*models.files_of_model(config["reading"]["model"])),
    output:
        splits=expand(
            "results/reading/{split}/embeddings.safetensors", split=reading.SPLITS
        ),
        pool="results/reading/pool.safetensors",
        summary="results/reading/embeddings.json",
    log:
        "logs/embed_reading.log",
    benchmark:
        cost("embed_reading")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "embed_reading"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("embed_reading", *models.files_of_model(config["reading"]["model"])),
        spec=canonical(reading.embedding_settings(config)),
    message:
        "embed images, questions and answers"
    script:
        "../scripts/embed_reading.py"


rule cluster_reading:
    input:
        questions=rules.embed_reading.input.questions,
        embeddings=rules.embed_reading.output.splits,
    output:
        clusters="results/reading/clusters/{hard_on}.parquet",
        summary="results/reading/clusters/{hard_on}.json",
    log:
        "logs/cluster_reading/{hard_on}.log",
    benchmark:
        cost("cluster_reading/{hard_on}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        *code("cluster_reading"),
        spec=canonical(reading.cluster_settings(config)),
    message:
        "cluster the training questions by {wildcards.hard_on}"
    script:
        "../scripts/cluster_reading.py"


# ---- readers ----


# All seeds in one job, as a training on embeddings takes little more than its start.
rule train_reading:
    input:
        questions=rules.embed_reading.input.questions,
        embeddings=rules.embed_reading.output.splits,
        pool="results/reading/pool.csv",
        pool_embeddings="results/reading/pool.safetensors",
        summary="results/reading/embeddings.json",
        clusters=lambda wildcards: reading.training_clusters(wildcards.variant),
    output:
        end=expand(
            "results/reading/training/{variant}/seed{seed}/end.safetensors",
            seed=config["reading"]["seeds"],
            allow_missing=True,
        ),
        history=expand(
            "results/reading/training/{variant}/seed{seed}/history.csv",
            seed=config["reading"]["seeds"],
            allow_missing=True,
        ),
        model=expand(
            "results/reading/training/{variant}/seed{seed}/model.json",
            seed=config["reading"]["seeds"],
            allow_missing=True,
        ),
    log:
        "logs/train_reading/{variant}.log",
    benchmark:
        cost("train_reading/{variant}")
    conda:
        "../../environment.yml"
    threads: config["reading"]["training"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=720,
        gpu=gpus.of_rule(config, "train_reading"),
        checkpoint_minutes=config["reading"]["training"]["checkpoint_minutes"],
    params:
        *code("train_reading"),
        spec=lambda wildcards: canonical(
            reading.training_settings(config, wildcards.variant)
        ),
    message:
        "train {wildcards.variant} to read, with each seed"
    script:
        "../scripts/train_reading.py"


rule predict_reading:
    input:
        questions=rules.embed_reading.input.questions,
        embeddings=rules.embed_reading.output.splits,
        pool="results/reading/pool.csv",
        pool_embeddings="results/reading/pool.safetensors",
        summary="results/reading/embeddings.json",
        clusters=expand(
            "results/reading/clusters/{hard_on}.parquet",
            hard_on=reading.clusterings(config),
        ),
        weights=[
            file
            for name in reading.variants(config)
            for file in reading.weights(config, name)
        ],
    output:
        reading.reader_predictions(config),
    log:
        "logs/predict_reading.log",
    benchmark:
        cost("predict_reading")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        *code("predict_reading"),
        spec=canonical(reading.prediction_settings(config)),
    message:
        "answer the questions of the validation split with every reader"
    script:
        "../scripts/predict_reading.py"


rule predict_reading_statements:
    input:
        questions="results/reading/validation/questions.parquet",
        embeddings="results/reading/validation/embeddings.safetensors",
        pool="results/reading/pool.csv",
        pool_embeddings="results/reading/pool.safetensors",
        summary="results/reading/embeddings.json",
        model=config_inputs(*models.files_of_model(config["reading"]["model"])),
    output:
        predictions="results/reading/predictions/seed0/statements.parquet",
    log:
        "logs/predict_reading_statements.log",
    benchmark:
        cost("predict_reading_statements")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "predict_reading_statements"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code(
            "predict_reading_statements",
            *models.files_of_model(config["reading"]["model"]),
        ),
        spec=canonical(reading.statement_settings(config)),
    message:
        "answer by statements"
    script:
        "../scripts/predict_reading_statements.py"


rule read_reading_ocr:
    input:
        files=config_inputs(*reading.files(config, "validation")),
        images="results/reading/validation/images.parquet",
    output:
        ocr="results/reading/validation/ocr.parquet",
    log:
        "logs/read_reading_ocr.log",
    benchmark:
        cost("read_reading_ocr")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        *code("read_reading_ocr"),
        lambda wildcards: digests(*reading.image_sources(config, "validation")),
        spec=canonical(
            reading.source_settings(config)
            | sections(config, ["reading.ocr_longest_side"])
        ),
    message:
        "read the images of the validation split by OCR"
    script:
        "../scripts/read_reading_ocr.py"


rule match_reading_ocr:
    input:
        questions="results/reading/validation/questions.parquet",
        ocr="results/reading/validation/ocr.parquet",
        pool="results/reading/pool.csv",
    output:
        predictions="results/reading/predictions/seed0/ocr.parquet",
    log:
        "logs/match_reading_ocr.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("match_reading_ocr"),
        spec=spec(),
    script:
        "../scripts/match_reading_ocr.py"


# ---- tables and figures ----


rule make_reading_table:
    input:
        questions=rules.embed_reading.input.questions,
        images="results/reading/validation/images.parquet",
        summaries=expand("results/reading/{split}/summary.json", split=reading.SPLITS),
        pool="results/reading/pool.csv",
        pool_summary="results/reading/pool.json",
        predictions=reading.table_predictions(config),
        clusters=expand(
            "results/reading/clusters/{hard_on}.json",
            hard_on=reading.clusterings(config),
        ),
        published=resource("resources/reading_published.csv"),
    output:
        csv=report(
            "results/reading/table.csv",
            category="Reading",
            labels={"table": "readers"},
            caption="../report/reading.rst",
        ),
        json="results/reading/table.json",
        markdown="results/reading/table.md",
    log:
        "logs/make_reading_table.log",
    benchmark:
        cost("make_reading_table")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("make_reading_table"),
        spec=canonical(reading.table_settings(config)),
    message:
        "the table of readers, controls and ceilings"
    script:
        "../scripts/make_reading_table.py"


rule make_reading_counts:
    input:
        questions=rules.embed_reading.input.questions,
    output:
        counts="results/reading/counts.csv",
        csv=report(
            "results/reading/overlap.csv",
            category="Reading",
            labels={"table": "overlap"},
            caption="../report/reading_counts.rst",
        ),
        json="results/reading/overlap.json",
        markdown="results/reading/overlap.md",
    log:
        "logs/make_reading_counts.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_counts"),
        spec=spec("scale"),
    script:
        "../scripts/make_reading_counts.py"


rule plot_reading_counts:
    input:
        counts="results/reading/counts.csv",
    output:
        question=report(
            "results/figures/reading_questions.svg",
            category="Reading",
            labels={"figure": "questions"},
            caption="../report/reading_counts.rst",
        ),
        question_png="results/figures/reading_questions.png",
        answer=report(
            "results/figures/reading_answers.svg",
            category="Reading",
            labels={"figure": "answers"},
            caption="../report/reading_counts.rst",
        ),
        answer_png="results/figures/reading_answers.png",
    log:
        "logs/plot_reading_counts.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_reading_counts"),
        spec=spec(),
    script:
        "../scripts/plot_reading_counts.py"


rule plot_reading_panels:
    input:
        files=config_inputs(*reading.files(config, "validation")),
        questions="results/reading/validation/questions.parquet",
        pool="results/reading/pool.csv",
        predictions=reading.panel_predictions(config),
    output:
        svg=report(
            "results/figures/reading_panels.svg",
            category="Reading",
            labels={"figure": "single questions"},
            caption="../report/reading_panels.rst",
        ),
        png="results/figures/reading_panels.png",
    log:
        "logs/plot_reading_panels.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_reading_panels"),
        lambda wildcards: digests(*reading.image_sources(config, "validation")),
        spec=canonical(reading.panel_settings(config)),
    script:
        "../scripts/plot_reading_panels.py"


# ---- single words ----


rule read_reading_words:
    input:
        words=config_inputs(*listed(config["reading"]["words"]["csv"])),
        summary="results/reading/embeddings.json",
        model=config_inputs(*models.files_of_model(config["reading"]["model"])),
        weights=reading.first_weights(config, "words"),
    output:
        words="results/reading/words.parquet",
    log:
        "logs/read_reading_words.log",
    benchmark:
        cost("read_reading_words")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
        gpu=gpus.of_rule(config, "read_reading_words"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("read_reading_words", *models.files_of_model(config["reading"]["model"])),
        lambda wildcards: digests(
            *listed(config["reading"]["words"]["csv"]),
            *listed(config["reading"]["words"]["images"]),
        ),
        spec=canonical(reading.word_settings(config)),
    message:
        "read single words"
    script:
        "../scripts/read_reading_words.py"


rule make_reading_words:
    input:
        words="results/reading/words.parquet",
    output:
        csv=report(
            "results/reading/words.csv",
            category="Reading",
            labels={"table": "words"},
            caption="../report/reading_words.rst",
        ),
        json="results/reading/words.json",
        markdown="results/reading/words.md",
    log:
        "logs/make_reading_words.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_words"),
        spec=canonical(
            {"labels": reading.labels(config, "words"), "scale": config["scale"]}
        ),
    script:
        "../scripts/make_reading_words.py"


rule plot_reading_words:
    input:
        table="results/reading/words.csv",
    output:
        svg=report(
            "results/figures/reading_words.svg",
            category="Reading",
            labels={"figure": "words"},
            caption="../report/reading_words.rst",
        ),
        png="results/figures/reading_words.png",
    log:
        "logs/plot_reading_words.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_reading_words"),
        spec=canonical({"reader": reading.labels(config, "words")[-1:]}),
    script:
        "../scripts/plot_reading_words.py"


# ---- views and crops ----


rule look_at_reading_views:
    input:
        questions="results/reading/validation/questions.parquet",
        embeddings="results/reading/validation/embeddings.safetensors",
        images=expand(
            "results/reading/validation/{view}.npy",
            view=config["reading"]["crops"]["views"],
        ),
        pool="results/reading/pool.csv",
        pool_embeddings="results/reading/pool.safetensors",
        summary="results/reading/embeddings.json",
        model=config_inputs(*models.files_of_model(config["reading"]["model"])),
        weights=reading.first_weights(config, "crops"),
    output:
        expand(
            "results/reading/views/{view}.parquet",
            view=config["reading"]["crops"]["views"],
        ),
    log:
        "logs/look_at_reading_views.log",
    benchmark:
        cost("look_at_reading_views")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "look_at_reading_views"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code(
            "look_at_reading_views",
            *models.files_of_model(config["reading"]["model"]),
        ),
        spec=canonical(reading.reader_settings(config, "crops")),
    message:
        "ask each part of the images"
    script:
        "../scripts/look_at_reading_views.py"


rule make_reading_crops:
    input:
        views=rules.look_at_reading_views.output,
        questions="results/reading/validation/questions.parquet",
        images="results/reading/validation/images.parquet",
        sizes=f"results/reading/validation/{config['reading']['view']}_sizes.parquet",
        pool="results/reading/pool.csv",
    output:
        csv=report(
            "results/reading/crops.csv",
            category="Reading",
            labels={"table": "crops"},
            caption="../report/reading_crops.rst",
        ),
        json="results/reading/crops.json",
        markdown="results/reading/crops.md",
    log:
        "logs/make_reading_crops.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_crops"),
        spec=canonical(
            {"labels": reading.labels(config, "crops"), "scale": config["scale"]}
        ),
    script:
        "../scripts/make_reading_crops.py"


# ---- the published numbers ----


rule make_reading_published:
    input:
        published=resource("resources/reading_published.csv"),
    output:
        csv=report(
            "results/reading/published.csv",
            category="Reading",
            labels={"table": "published"},
            caption="../report/reading_published.rst",
        ),
        json="results/reading/published.json",
        markdown="results/reading/published.md",
    log:
        "logs/make_reading_published.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_published"),
        spec=spec(),
    script:
        "../scripts/make_reading_published.py"
