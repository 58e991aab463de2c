# Ordinal regression: sets of images with a number each, cut into folds, told by all methods.
#
# Needs: the CSV and the images of each of `ordinal.sets`, and the pretrained model.
# Makes: results/ordinal/{set}/: folds, images, a training for each method, seed and fold,
# predictions, and the tables; results/ordinal/table.csv: those of all sets; embeddings, and the
# studies that `ordinal.studies` asks for.
#
# Folders are no inputs, as their times mean nothing: a JSON with the digests of their files is.

from countclip.experiments.ordinal import settings as ordinal

ordinal.check(config)


wildcard_constraints:
    method=r"[a-z][a-z0-9_]*",
    fold=r"\d+",
    study="few_shot|shift|outside|growing",


rule make_ordinal_folds:
    input:
        csv=lambda wildcards: config_inputs(
            experiments.ordinal_set(config, wildcards.set)["csv"]
        ),
    output:
        folds=directory("results/ordinal/{set}/folds"),
        images="results/ordinal/{set}/images.parquet",
        summary="results/ordinal/{set}/folds.json",
    log:
        "logs/make_ordinal_folds/{set}.log",
    benchmark:
        cost("make_ordinal_folds/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("make_ordinal_folds"),
        lambda wildcards: digests(experiments.ordinal_set(config, wildcards.set)["csv"]),
        spec=lambda wildcards: canonical(ordinal.fold_settings(config, wildcards.set)),
    message:
        "check the ordinal set {wildcards.set}, and make its folds"
    script:
        "../scripts/make_ordinal_folds.py"


rule pack_ordinal_images:
    input:
        csv=lambda wildcards: config_inputs(
            experiments.ordinal_set(config, wildcards.set)["csv"]
        ),
        images="results/ordinal/{set}/images.parquet",
        model=config_inputs(*models.model_configs(config)),
    output:
        images="results/ordinal/{set}/images.npy",
    log:
        "logs/pack_ordinal_images/{set}.log",
    benchmark:
        cost("pack_ordinal_images/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        *code("pack_ordinal_images", *models.model_configs(config)),
        lambda wildcards: digest_of_all(
            "ordinal images", ordinal.listed_images(config, wildcards.set)
        ),
        spec=lambda wildcards: canonical(
            models.packing(config["model"])
            | {"set": ordinal.image_settings(config, wildcards.set)}
        ),
    message:
        "pack the images of the ordinal set {wildcards.set}"
    script:
        "../scripts/pack_ordinal_images.py"


rule train_ordinal:
    input:
        folds="results/ordinal/{set}/folds.json",
        images="results/ordinal/{set}/images.npy",
        model=config_inputs(*models.model_files(config)),
    output:
        selected="results/ordinal/{set}/training/{method}/seed{seed}/fold{fold}/selected.safetensors",
        best="results/ordinal/{set}/training/{method}/seed{seed}/fold{fold}/best_on_test.safetensors",
        history="results/ordinal/{set}/training/{method}/seed{seed}/fold{fold}/history.csv",
        model="results/ordinal/{set}/training/{method}/seed{seed}/fold{fold}/model.json",
    log:
        "logs/train_ordinal/{set}_{method}_seed{seed}_fold{fold}.log",
    benchmark:
        cost("train_ordinal/{set}_{method}_seed{seed}_fold{fold}")
    conda:
        "../../environment.yml"
    threads: config["ordinal"]["training"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=720,
        gpu=gpus.of_rule(config, "train_ordinal"),
        checkpoint_minutes=config["ordinal"]["training"]["checkpoint_minutes"],
        loggers=",".join(config["ordinal"]["training"]["loggers"]),
    params:
        *code("train_ordinal", *models.model_files(config)),
        spec=lambda wildcards: canonical(
            ordinal.training_settings(config, wildcards.set, wildcards.method)
        ),
    message:
        "train {wildcards.method} on {wildcards.set}, fold {wildcards.fold}, seed {wildcards.seed}"
    script:
        "../scripts/train_ordinal.py"


rule predict_ordinal:
    input:
        folds="results/ordinal/{set}/folds.json",
        images="results/ordinal/{set}/images.npy",
        model=config_inputs(*models.model_files(config)),
        weights=lambda wildcards: ordinal.weights(
            config, wildcards.set, wildcards.method, wildcards.seed
        ),
    output:
        selected=directory("results/ordinal/{set}/predictions/seed{seed}/{method}"),
        # Empty for a method that is not trained.
        best_on_test=directory("results/ordinal/{set}/best_on_test/seed{seed}/{method}"),
        files="results/ordinal/{set}/predictions/seed{seed}/{method}.json",
    log:
        "logs/predict_ordinal/{set}_{method}_seed{seed}.log",
    benchmark:
        cost("predict_ordinal/{set}_{method}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus.of_rule(config, "predict_ordinal"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("predict_ordinal", *models.model_files(config)),
        spec=lambda wildcards: canonical(
            ordinal.prediction_settings(config, wildcards.set, wildcards.method)
        ),
    message:
        "predict with {wildcards.method} on {wildcards.set}, seed {wildcards.seed}"
    script:
        "../scripts/predict_ordinal.py"


rule make_ordinal_table:
    input:
        folds="results/ordinal/{set}/folds.json",
        predictions=lambda wildcards: ordinal.predictions(config, wildcards.set),
        published=resource("resources/ordinal_published.csv"),
    output:
        csv=report(
            "results/ordinal/{set}/table.csv",
            category="Ordinal regression",
            labels={"set": "{set}", "table": "methods"},
            caption="../report/ordinal.rst",
        ),
        json="results/ordinal/{set}/table.json",
        markdown="results/ordinal/{set}/table.md",
        per_bin="results/ordinal/{set}/table_per_bin.csv",
    log:
        "logs/make_ordinal_table/{set}.log",
    benchmark:
        cost("make_ordinal_table/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("make_ordinal_table"),
        spec=lambda wildcards: canonical(ordinal.table_settings(config, wildcards.set)),
    message:
        "the table of the ordinal set {wildcards.set}"
    script:
        "../scripts/make_ordinal_table.py"


rule join_ordinal_tables:
    input:
        tables=expand(
            "results/ordinal/{set}/table.csv", set=experiments.ordinal_sets(config)
        ),
    output:
        csv="results/ordinal/table.csv",
    log:
        "logs/join_ordinal_tables.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("join_ordinal_tables"),
        spec=canonical(experiments.ordinal_sets(config)),
    script:
        "../scripts/join_ordinal_tables.py"


rule plot_ordinal_errors:
    input:
        per_bin="results/ordinal/{set}/table_per_bin.csv",
    output:
        svg=report(
            "results/figures/ordinal_errors_{set}.svg",
            category="Ordinal regression",
            labels={"set": "{set}", "figure": "errors by bin"},
            caption="../report/ordinal_errors.rst",
        ),
        png="results/figures/ordinal_errors_{set}.png",
    log:
        "logs/plot_ordinal_errors/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_ordinal_errors"),
        spec=spec("scale"),
    script:
        "../scripts/plot_ordinal_errors.py"


# ---- embeddings: of fold 1, with the first seed ----


rule embed_ordinal:
    input:
        folds="results/ordinal/{set}/folds.json",
        images="results/ordinal/{set}/images.npy",
        model=config_inputs(*models.model_files(config)),
        weights=lambda wildcards: ordinal.embedded_weights(config, wildcards.set),
    output:
        expand(
            "results/ordinal/{set}/embeddings/{method}.npz",
            method=ordinal.embedded(config),
            allow_missing=True,
        ),
    log:
        "logs/embed_ordinal/{set}.log",
    benchmark:
        cost("embed_ordinal/{set}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=gpus.of_rule(config, "embed_ordinal"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("embed_ordinal", *models.model_files(config)),
        spec=lambda wildcards: canonical(
            ordinal.embedding_settings(config, wildcards.set)
        ),
    message:
        "embed the images and texts of {wildcards.set}"
    script:
        "../scripts/embed_ordinal.py"


rule plot_ordinal_order:
    input:
        embeddings=rules.embed_ordinal.output,
    output:
        order="results/ordinal/{set}/order.csv",
        similarities=report(
            "results/figures/ordinal_similarities_{set}.svg",
            category="Ordinal regression",
            labels={"set": "{set}", "figure": "similarities"},
            caption="../report/ordinal_order.rst",
        ),
        similarities_png="results/figures/ordinal_similarities_{set}.png",
        by_span=report(
            "results/figures/ordinal_order_{set}.svg",
            category="Ordinal regression",
            labels={"set": "{set}", "figure": "order by span"},
            caption="../report/ordinal_order.rst",
        ),
        by_span_png="results/figures/ordinal_order_{set}.png",
        map=report(
            "results/figures/ordinal_map_{set}.svg",
            category="Ordinal regression",
            labels={"set": "{set}", "figure": "map of images"},
            caption="../report/ordinal_order.rst",
        ),
        map_png="results/figures/ordinal_map_{set}.png",
    log:
        "logs/plot_ordinal_order/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_ordinal_order"),
        spec=canonical(ordinal.order_settings(config)),
    script:
        "../scripts/plot_ordinal_order.py"


# ---- studies: made where `ordinal.studies` says so ----


STUDIED = config["ordinal"]["studies"]["set"]


rule run_ordinal_study:
    input:
        folds=f"results/ordinal/{STUDIED}/folds.json",
        images=f"results/ordinal/{STUDIED}/images.npy",
        model=config_inputs(*models.model_files(config)),
    output:
        predictions="results/ordinal/studies/{study}.parquet",
    log:
        "logs/run_ordinal_study/{study}.log",
    benchmark:
        cost("run_ordinal_study/{study}")
    conda:
        "../../environment.yml"
    threads: config["ordinal"]["training"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=720,
        gpu=max(
            gpus.of_rule(config, "run_ordinal_study"),
            gpus.of_rule(config, "predict_ordinal"),
        ),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
        checkpoint_minutes=config["ordinal"]["training"]["checkpoint_minutes"],
    params:
        *code("run_ordinal_study", *models.model_files(config)),
        spec=lambda wildcards: canonical(
            ordinal.study_settings(config, wildcards.study)
        ),
    message:
        "the trainings of the study {wildcards.study}"
    script:
        "../scripts/run_ordinal_study.py"


rule make_ordinal_study:
    input:
        predictions="results/ordinal/studies/{study}.parquet",
    output:
        csv=report(
            "results/ordinal/{study}.csv",
            category="Ordinal regression",
            labels={"table": "{study}"},
            caption="../report/ordinal_study.rst",
        ),
        json="results/ordinal/{study}.json",
        markdown="results/ordinal/{study}.md",
    log:
        "logs/make_ordinal_study/{study}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_ordinal_study"),
        spec=lambda wildcards: canonical(
            ordinal.study_table_settings(config, wildcards.study)
        ),
    script:
        "../scripts/make_ordinal_study.py"


rule plot_ordinal_study:
    input:
        table="results/ordinal/{study}.csv",
    output:
        svg=report(
            "results/figures/ordinal_{study}.svg",
            category="Ordinal regression",
            labels={"figure": "{study}"},
            caption="../report/ordinal_study.rst",
        ),
        png="results/figures/ordinal_{study}.png",
    log:
        "logs/plot_ordinal_study/{study}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_ordinal_study"),
        spec=spec("scale"),
    script:
        "../scripts/plot_ordinal_study.py"


rule measure_ordinal_cost:
    input:
        model=config_inputs(*models.model_files(config)),
    output:
        csv=report(
            "results/ordinal/cost.csv",
            category="Ordinal regression",
            labels={"table": "cost"},
            caption="../report/ordinal_cost.rst",
        ),
        json="results/ordinal/cost.json",
        markdown="results/ordinal/cost.md",
    log:
        "logs/measure_ordinal_cost.log",
    benchmark:
        cost("measure_ordinal_cost")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        *code("measure_ordinal_cost", *models.model_files(config)),
        spec=lambda wildcards: canonical(ordinal.cost_settings(config)),
    script:
        "../scripts/measure_ordinal_cost.py"
