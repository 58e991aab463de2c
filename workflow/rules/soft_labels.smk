# Soft labels: objects of captions, and CLIPs that are pretrained with hard and with soft labels.
#
# Needs: the candidates of data.smk, or files of the config's `soft_labels.caption_sets`; the pairs
# and test images of `soft_labels.pretraining`.
# Makes: results/soft_labels/{set}/: the objects of a caption set; results/soft_labels/statistics.*;
# results/figures/object_ranks_{set}.*; packed pairs, a training for each net, target and seed,
# answers; results/soft_labels/table.*, domains.*.
#
# A folder is no input, as its time means nothing: the digest of its files is a param, or of the
# miniature a file.

from countclip.experiments.soft_labels import settings as soft_labels

soft_labels.check(config)

PRETRAINING = config["soft_labels"]["pretraining"]


wildcard_constraints:
    net=r"[a-z][a-z0-9_]*",
    target=r"[a-z][a-z0-9_]*",
    texts="captions|mixed",


rule count_objects:
    input:
        captions=lambda wildcards: soft_labels.captions(config, wildcards.set),
    output:
        concrete="results/soft_labels/{set}/concrete.parquet",
        nouns="results/soft_labels/{set}/nouns.parquet",
        phrases="results/soft_labels/{set}/phrases.parquet",
        counts="results/soft_labels/{set}/counts.json",
    log:
        "logs/count_objects/{set}.log",
    benchmark:
        cost("count_objects/{set}")
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=1440,
    params:
        *code("count_objects", *soft_targets.LEXICONS),
        lambda wildcards: digests(
            *listed(soft_labels.caption_set(config, wildcards.set)["path"])
        ),
        spec=lambda wildcards: canonical(
            soft_labels.set_settings(config, wildcards.set)
        ),
    message:
        "count the objects of the caption set {wildcards.set}"
    script:
        "../scripts/count_objects.py"


# Optional: soft_labels.llm. Where the model is, and how hard to try, reruns nothing.
rule ask_objects:
    input:
        captions=lambda wildcards: soft_labels.captions(config, wildcards.set),
    output:
        objects="results/soft_labels/{set}/llm.parquet",
        captions="results/soft_labels/{set}/llm_captions.parquet",
        counts="results/soft_labels/{set}/llm.json",
    log:
        "logs/ask_objects/{set}.log",
    benchmark:
        cost("ask_objects/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=1440,
    params:
        *code("ask_objects", *soft_targets.LEXICONS),
        lambda wildcards: digests(
            *listed(soft_labels.caption_set(config, wildcards.set)["path"])
        ),
        spec=lambda wildcards: canonical(
            soft_labels.llm_settings(config, wildcards.set)
        ),
        endpoint=lambda wildcards, resources: soft_labels.endpoint(config),
        answers=lambda wildcards, resources: prefixed("results/soft_labels/answers"),
    message:
        "ask a language model about the captions of {wildcards.set}"
    script:
        "../scripts/ask_objects.py"


rule make_object_statistics:
    input:
        counts=expand(
            "results/soft_labels/{set}/counts.json",
            set=experiments.caption_sets(config),
        ),
        llm=expand(
            "results/soft_labels/{set}/llm.json", set=experiments.llm_sets(config)
        ),
        published=resource("resources/soft_labels_published.csv"),
    output:
        csv=report(
            "results/soft_labels/statistics.csv",
            category="Soft labels",
            labels={"format": "CSV"},
            caption="../report/object_statistics.rst",
        ),
        json="results/soft_labels/statistics.json",
        markdown="results/soft_labels/statistics.md",
    log:
        "logs/make_object_statistics.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_object_statistics", "resources/soft_labels_published.csv"),
        spec=canonical(
            {
                "scale": config["scale"],
                "labels": soft_labels.labels(config),
                "llm": experiments.llm_sets(config),
            }
        ),
    script:
        "../scripts/make_object_statistics.py"


rule plot_object_ranks:
    input:
        lambda wildcards: expand(
            "results/soft_labels/{{set}}/{unit}.parquet",
            unit=soft_labels.units(config, wildcards.set),
        ),
    output:
        svg=report(
            "results/figures/object_ranks_{set}.svg",
            category="Soft labels",
            labels={"figure": "objects by rank", "set": "{set}"},
            caption="../report/object_ranks.rst",
        ),
        png="results/figures/object_ranks_{set}.png",
    log:
        "logs/plot_object_ranks/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_object_ranks"),
        spec=lambda wildcards: canonical(
            {
                "scale": config["scale"],
                "label": soft_labels.labels(config)[wildcards.set],
                "units": soft_labels.units(config, wildcards.set),
            }
        ),
    script:
        "../scripts/plot_object_ranks.py"


# ---- pretraining under hard and soft targets ----


rule pack_pretraining_pairs:
    input:
        folder=ancient(PRETRAINING["pairs"]["folder"]),
        digests=soft_labels.sticker_digests(PRETRAINING["pairs"]["folder"]),
    output:
        images="results/soft_labels/pairs/images.npy",
        pairs="results/soft_labels/pairs/pairs.parquet",
        summary="results/soft_labels/pairs/summary.json",
    log:
        "logs/pack_pretraining_pairs.log",
    benchmark:
        cost("pack_pretraining_pairs")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=1440,
    params:
        *code("pack_pretraining_pairs", *soft_targets.LEXICONS),
        lambda wildcards: digests(PRETRAINING["pairs"]["folder"]),
        spec=canonical(soft_labels.pair_settings(config)),
    script:
        "../scripts/pack_pretraining_pairs.py"


rule pack_zero_shot:
    input:
        folder=ancient(PRETRAINING["test"]["folder"]),
        digests=soft_labels.sticker_digests(PRETRAINING["test"]["folder"]),
        pairs="results/soft_labels/pairs/pairs.parquet",
    output:
        images="results/soft_labels/zero_shot/images.npy",
        texts="results/soft_labels/zero_shot/texts.json",
        classes="results/soft_labels/zero_shot/classes.csv",
    log:
        "logs/pack_zero_shot.log",
    benchmark:
        cost("pack_zero_shot")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        *code("pack_zero_shot", *soft_targets.LEXICONS),
        lambda wildcards: digests(PRETRAINING["test"]["folder"]),
        spec=canonical(
            soft_labels.test_settings(config)
            | {"objects": PRETRAINING["pairs"]["objects"]}
        ),
    script:
        "../scripts/pack_zero_shot.py"


rule pretrain_clip:
    input:
        pairs="results/soft_labels/pairs/pairs.parquet",
        images="results/soft_labels/pairs/images.npy",
        model=lambda wildcards: config_inputs(
            *soft_labels.net_files(config, wildcards.net)
        ),
        classes=lambda wildcards: soft_labels.class_table(wildcards.texts),
        descriptions=lambda wildcards: config_inputs(
            *soft_labels.descriptions(config, wildcards.texts)
        ),
    output:
        weights="results/soft_labels/training/{net}/{target}/{texts}/seed{seed}/weights.safetensors",
        history="results/soft_labels/training/{net}/{target}/{texts}/seed{seed}/history.csv",
        model="results/soft_labels/training/{net}/{target}/{texts}/seed{seed}/model.json",
    log:
        "logs/pretrain_clip/{net}_{target}_{texts}_seed{seed}.log",
    benchmark:
        cost("pretrain_clip/{net}_{target}_{texts}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: PRETRAINING["training"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=1440,
        gpu=gpus.of_rule(config, "pretrain_clip"),
        checkpoint_minutes=PRETRAINING["training"]["checkpoint_minutes"],
        loggers=",".join(PRETRAINING["training"]["loggers"]),
    params:
        *code("pretrain_clip"),
        lambda wildcards: digests(
            *soft_labels.net_files(config, wildcards.net),
            *soft_labels.descriptions(config, wildcards.texts),
        ),
        spec=lambda wildcards: canonical(
            soft_labels.pretraining_settings(
                config, wildcards.net, wildcards.target, wildcards.texts
            )
        ),
    message:
        "pretrain the net {wildcards.net} on {wildcards.texts} under {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/pretrain_clip.py"


rule classify_zero_shot:
    input:
        images="results/soft_labels/zero_shot/images.npy",
        texts="results/soft_labels/zero_shot/texts.json",
        templates=config_inputs(PRETRAINING["test"]["templates"]),
        model=lambda wildcards: config_inputs(
            *soft_labels.net_files(config, wildcards.net)
        ),
        weights=lambda wildcards: soft_labels.trainings(
            config, wildcards.net, "weights.safetensors"
        ),
    output:
        answers="results/soft_labels/zero_shot/{net}/answers.parquet",
    log:
        "logs/classify_zero_shot/{net}.log",
    benchmark:
        cost("classify_zero_shot/{net}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "classify_zero_shot"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("classify_zero_shot"),
        lambda wildcards: digests(
            PRETRAINING["test"]["templates"],
            *soft_labels.net_files(config, wildcards.net),
        ),
        spec=lambda wildcards: canonical(
            soft_labels.classification_settings(config, wildcards.net)
        ),
    message:
        "zero-shot answers of the net {wildcards.net}"
    script:
        "../scripts/classify_zero_shot.py"


rule make_soft_label_table:
    input:
        answers=expand(
            "results/soft_labels/zero_shot/{net}/answers.parquet",
            net=experiments.pretraining_nets(config),
        ),
        histories=[
            file
            for net in experiments.pretraining_nets(config)
            for file in soft_labels.trainings(config, net, "history.csv")
        ],
        classes="results/soft_labels/zero_shot/classes.csv",
        summary="results/soft_labels/pairs/summary.json",
        published=resource("resources/soft_labels_zero_shot.csv"),
    output:
        csv=report(
            "results/soft_labels/table.csv",
            category="Soft labels",
            labels={"table": "targets"},
            caption="../report/soft_labels.rst",
        ),
        json="results/soft_labels/table.json",
        markdown="results/soft_labels/table.md",
    log:
        "logs/make_soft_label_table.log",
    benchmark:
        cost("make_soft_label_table")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("make_soft_label_table", "resources/soft_labels_zero_shot.csv"),
        spec=canonical(soft_labels.table_settings(config)),
    script:
        "../scripts/make_soft_label_table.py"


rule plot_soft_labels:
    input:
        table="results/soft_labels/table.csv",
    output:
        svg=report(
            "results/figures/soft_labels.svg",
            category="Soft labels",
            labels={"figure": "top-1 by frequency"},
            caption="../report/soft_labels.rst",
        ),
        png="results/figures/soft_labels.png",
    log:
        "logs/plot_soft_labels.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_soft_labels"),
        spec=spec("scale"),
    script:
        "../scripts/plot_soft_labels.py"


# ---- text domains: labels, captions and descriptions ----


rule classify_domains:
    input:
        images="results/soft_labels/zero_shot/images.npy",
        texts="results/soft_labels/zero_shot/texts.json",
        templates=config_inputs(PRETRAINING["test"]["templates"]),
        descriptions=config_inputs(*soft_labels.descriptions(config)),
        model=config_inputs(*soft_labels.domain_files(config)),
        weights=soft_labels.domain_weights(config),
    output:
        answers="results/soft_labels/zero_shot/domains.parquet",
    log:
        "logs/classify_domains.log",
    benchmark:
        cost("classify_domains")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "classify_domains"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("classify_domains"),
        digests(
            PRETRAINING["test"]["templates"],
            *soft_labels.descriptions(config),
            *soft_labels.domain_files(config),
        ),
        spec=canonical(
            soft_labels.classification_settings(config, PRETRAINING["domains"]["net"])
        ),
    script:
        "../scripts/classify_domains.py"


rule make_domain_table:
    input:
        answers="results/soft_labels/zero_shot/domains.parquet",
    output:
        csv=report(
            "results/soft_labels/domains.csv",
            category="Soft labels",
            labels={"table": "text domains"},
            caption="../report/soft_labels.rst",
        ),
        json="results/soft_labels/domains.json",
        markdown="results/soft_labels/domains.md",
    log:
        "logs/make_domain_table.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_domain_table"),
        spec=canonical(soft_labels.domain_table_settings(config)),
    script:
        "../scripts/make_domain_table.py"
