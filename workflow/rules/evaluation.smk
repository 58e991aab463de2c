# What the pretrained model and every run answer: counting, retention, WiSE-FT, retrieval, relevancy.
#
# Needs: results/training/, the benchmarks, and the retention tasks that the config names.
# Makes: results/evaluation/, results/retention/, results/wise_ft/, results/retrieval/,
# results/relevancy/: one file of raw answers a model, from which report.smk makes all tables.


# Decoded and resized once, and not again for each model.
rule pack_benchmark:
    input:
        unpack(benchmark_files),
        model=config_inputs(*settings.model_configs(config)),
    output:
        images="results/evaluation/{benchmark}/images.npy",
    log:
        "logs/pack_benchmark/{benchmark}.log",
    benchmark:
        cost("pack_benchmark/{benchmark}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("pack_benchmark", *settings.model_configs(config)),
        spec=spec("model.name", "model.config"),
    message:
        "pack the images of {wildcards.benchmark} at the model's size"
    script:
        "../scripts/pack_benchmark.py"


rule evaluate:
    input:
        unpack(packed_benchmark),
        model=config_inputs(*settings.model_files(config)),
        checkpoints=checkpoints("end", "best_on_benchmark", "selected"),
    output:
        predictions="results/evaluation/{benchmark}/{variant}/seed{seed}/predictions.parquet",
    log:
        "logs/evaluate/{benchmark}/{variant}_seed{seed}.log",
    benchmark:
        cost("evaluate/{benchmark}/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
        gpu=settings.gpus(config, "evaluate"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("evaluate", *settings.model_files(config)),
        spec=spec(
            "model", "countbench.replace", "evaluation.precision", "evaluation.threads"
        ),
    message:
        "evaluate {wildcards.variant}, seed {wildcards.seed}, on {wildcards.benchmark}"
    script:
        "../scripts/evaluate.py"


rule pack_retention:
    input:
        # Its files count (`digests`), not its age, which a copy renews.
        folder=lambda wildcards: ancient(
            settings.retention_source(config, wildcards.task)["folder"]
        ),
        digests=lambda wildcards: retention_digests(wildcards.task),
        annotations=lambda wildcards: settings.retention_source(
            config, wildcards.task
        )["annotations"]
        or [],
        model=config_inputs(*settings.model_configs(config)),
    output:
        images="results/retention/{task}/images.npy",
        texts="results/retention/{task}/texts.json",
    log:
        "logs/pack_retention/{task}.log",
    benchmark:
        cost("pack_retention/{task}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        *code("pack_retention", *settings.model_configs(config)),
        lambda wildcards: digests(
            settings.retention_source(config, wildcards.task)["folder"],
            *listed(settings.retention_source(config, wildcards.task)["annotations"]),
        ),
        spec=lambda wildcards: canonical(
            sections(config, ["model.name", "model.config"])
            | {"task": settings.retention_source(config, wildcards.task)}
        ),
    message:
        "pack the retention task {wildcards.task}"
    script:
        "../scripts/pack_retention.py"


rule measure_retention:
    input:
        images="results/retention/{task}/images.npy",
        texts="results/retention/{task}/texts.json",
        templates=lambda wildcards: config_inputs(
            *settings.templates(config, wildcards.task)
        ),
        model=config_inputs(*settings.model_files(config)),
        checkpoints=checkpoints("end", "selected"),
    output:
        answers="results/retention/{task}/{variant}/seed{seed}.parquet",
    log:
        "logs/measure_retention/{task}/{variant}_seed{seed}.log",
    benchmark:
        cost("measure_retention/{task}/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=settings.gpus(config, "measure_retention"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("measure_retention", *settings.model_files(config)),
        lambda wildcards: digests(*settings.templates(config, wildcards.task)),
        spec=lambda wildcards: canonical(
            sections(config, ["model", "evaluation.precision", "evaluation.threads"])
            | {"templates": settings.templates(config, wildcards.task)}
        ),
    message:
        "measure {wildcards.variant}, seed {wildcards.seed}, on {wildcards.task}"
    script:
        "../scripts/measure_retention.py"


rule sweep_wise_ft:
    input:
        weights=lambda wildcards: "results/training/{variant}/seed{seed}/"
        f"{config['wise_ft']['checkpoint']}.safetensors",
        counting=of_set("results/counting_set/{set}/counting.parquet"),
        counting_images=of_set("results/training/images/{set}.npy"),
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/evaluation/countbench/images.npy",
        intersection=settings.intersection(config),
        images=expand(
            "results/retention/{task}/images.npy",
            task=settings.retention_tasks(config),
        ),
        texts=expand(
            "results/retention/{task}/texts.json",
            task=settings.retention_tasks(config),
        ),
        templates=config_inputs(
            *settings.templates(config, *settings.retention_tasks(config))
        ),
        model=config_inputs(*settings.model_files(config)),
    output:
        measured="results/wise_ft/{variant}/seed{seed}.csv",
    log:
        "logs/sweep_wise_ft/{variant}_seed{seed}.log",
    benchmark:
        cost("sweep_wise_ft/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(480),
        gpu=settings.gpus(config, "sweep_wise_ft"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code(
            "sweep_wise_ft",
            *settings.model_files(config),
            *settings.templates(config, *settings.retention_tasks(config)),
            *listed(settings.intersection(config)),
        ),
        spec=canonical(
            sections(
                config,
                [
                    "model",
                    "countbench.variant",
                    "countbench.replace",
                    "evaluation.precision",
                    "evaluation.threads",
                    "wise_ft.alphas",
                ],
            )
            | {
                "tasks": [
                    [name, settings.templates(config, name)]
                    for name in settings.retention_tasks(config)
                ]
            }
        ),
    message:
        "weights between the baseline and {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/sweep_wise_ft.py"


rule retrieve:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/evaluation/countbench/images.npy",
        nouns=config_inputs(config["counting_set"]["nouns"]),
        model=config_inputs(*settings.model_files(config)),
        weights=settings.final_weights(config, "retrieval"),
    output:
        scores="results/retrieval/scores.parquet",
    log:
        "logs/retrieve.log",
    benchmark:
        cost("retrieve")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
        gpu=settings.gpus(config, "retrieve"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code(
            "retrieve", config["counting_set"]["nouns"], *settings.model_files(config)
        ),
        spec=spec(
            "model",
            "counting_set.nouns",
            "evaluation.precision",
            "evaluation.threads",
            "retrieval.prompt",
            "retrieval.anything",
        ),
    message:
        "measure how similar each query is to the images that it ranks"
    script:
        "../scripts/retrieve.py"


rule measure_relevancy:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/evaluation/countbench/images.npy",
        model=config_inputs(*settings.model_files(config)),
        weights=settings.final_weights(config, "relevancy"),
    output:
        measured="results/relevancy/shares.parquet",
    log:
        "logs/measure_relevancy.log",
    benchmark:
        cost("measure_relevancy")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=settings.gpus(config, "measure_relevancy"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("measure_relevancy", *settings.model_files(config)),
        spec=spec("model", "evaluation.precision", "evaluation.threads"),
    message:
        "measure how much each token of a caption matters"
    script:
        "../scripts/measure_relevancy.py"
