# What the pretrained model and every run answer: counting, retention, WiSE-FT, retrieval, relevancy.
#
# Needs: results/training/, the benchmarks, and the retention tasks that the config names.
# Makes: results/evaluation/, results/retention/, results/wise_ft/, results/retrieval/,
# results/relevancy/: one file of raw answers a model, from which report.smk makes all tables.


rule evaluate:
    input:
        unpack(benchmark_of),
        model=given(*model_files()),
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
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("evaluate", *model_files()),
        spec=spec(
            "model", "countbench.replace", "evaluation.precision", "evaluation.threads"
        ),
    message:
        "evaluate {wildcards.variant}, seed {wildcards.seed}, on {wildcards.benchmark}"
    script:
        "../scripts/evaluate.py"


rule pack_retention:
    input:
        folder=lambda wildcards: retention_task(wildcards.task)["folder"],
        annotations=lambda wildcards: retention_task(wildcards.task)["annotations"]
        or [],
        model=given(*model_forms()),
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
        *code("pack_retention", *model_forms()),
        spec=lambda wildcards: canonical(
            sections(config, ["model.name", "model.config"])
            | {"task": retention_task(wildcards.task)}
        ),
    message:
        "pack the retention task {wildcards.task}"
    script:
        "../scripts/pack_retention.py"


rule measure_retention:
    input:
        images="results/retention/{task}/images.npy",
        texts="results/retention/{task}/texts.json",
        templates=lambda wildcards: given(*templates_of(wildcards.task)),
        model=given(*model_files()),
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
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("measure_retention", *model_files()),
        lambda wildcards: digests(*templates_of(wildcards.task)),
        spec=lambda wildcards: canonical(
            sections(config, ["model", "evaluation.precision", "evaluation.threads"])
            | {"templates": templates_of(wildcards.task)}
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
        benchmark_images="results/countbench/images.parquet",
        intersection=intersection(),
        images=expand("results/retention/{task}/images.npy", task=retention_tasks()),
        texts=expand("results/retention/{task}/texts.json", task=retention_tasks()),
        templates=given(*templates_of(*retention_tasks())),
        model=given(*model_files()),
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
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("sweep_wise_ft", *model_files(), *templates_of(*retention_tasks())),
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
            | {"tasks": [[name, templates_of(name)] for name in retention_tasks()]}
        ),
    message:
        "weights between the untouched model and {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/sweep_wise_ft.py"


rule retrieve:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        nouns=given(config["counting_set"]["nouns"]),
        model=given(*model_files()),
        weights=after("retrieval"),
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
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("retrieve", config["counting_set"]["nouns"], *model_files()),
        spec=spec(
            "model",
            "counting_set.nouns",
            "evaluation.precision",
            "evaluation.threads",
            "retrieval.prompt",
            "retrieval.anything",
        ),
    message:
        "ask how similar each query by count is to the pictures that it ranks"
    script:
        "../scripts/retrieve.py"


rule measure_relevancy:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        model=given(*model_files()),
        weights=after("relevancy"),
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
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("measure_relevancy", *model_files()),
        spec=spec("model", "evaluation.precision", "evaluation.threads"),
    message:
        "measure how much each token of a caption matters"
    script:
        "../scripts/measure_relevancy.py"
