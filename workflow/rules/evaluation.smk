# What the pretrained model and every run answer: counting, retention, WiSE-FT, retrieval, relevancy.
#
# Needs: results/training/, the benchmarks, and the retention tasks that the config names.
# Makes: results/evaluation/, results/zero_shot/, results/retention/, results/wise_ft/, results/retrieval/,
# results/relevancy/: one file of raw answers a model, from which report.smk makes all tables.


# Decoded and resized once, and not again for each model.
rule pack_benchmark:
    input:
        unpack(benchmark_files),
        model=packed_model_files,
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
        *code("pack_benchmark"),
        packed_model_digests,
        spec=lambda wildcards: canonical(models.packing(packed_model(wildcards))),
    message:
        "pack the images of {wildcards.benchmark} at the model's size"
    script:
        "../scripts/pack_benchmark.py"


# For the models after the first one.
use rule pack_benchmark as pack_benchmark_of_model with:
    output:
        images="results/evaluation/{benchmark}/images/{model}.npy",
    log:
        "logs/pack_benchmark/{benchmark}_{model}.log",
    benchmark:
        cost("pack_benchmark/{benchmark}_{model}")


rule evaluate:
    input:
        unpack(packed_benchmark),
        model=model_inputs,
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
        gpu=gpus.of_rule(config, "evaluate"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("evaluate"),
        lambda wildcards: digests(*models.model_files(config, wildcards.variant)),
        spec=lambda wildcards: with_model(
            wildcards,
            "countbench.replace",
            "evaluation.precision",
            "evaluation.threads",
        ),
    message:
        "evaluate {wildcards.variant}, seed {wildcards.seed}, on {wildcards.benchmark}"
    script:
        "../scripts/evaluate.py"


# Where `keep_weights` is false, weights are deleted once they are measured, and the next model's
# arrive after that.
rule fetch_zero_shot_weights:
    input:
        world=network.world(config),
        before=lambda wildcards: ancient(
            zero_shot.answers_before(config, wildcards.model)
        ),
    output:
        weights=(
            "results/weights/zero_shot/{model}.safetensors"
            if config["zero_shot"]["keep_weights"]
            else temp("results/weights/zero_shot/{model}.safetensors")
        ),
    log:
        "logs/fetch_zero_shot_weights/{model}.log",
    benchmark:
        cost("fetch_zero_shot_weights/{model}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=240,
    params:
        *code("fetch_zero_shot_weights"),
        spec=lambda wildcards: canonical(
            sections(config, ["network", "zero_shot.endpoint"])
            | {"model": zero_shot.model(config, wildcards.model)}
        ),
    message:
        "download the weights of {wildcards.model}"
    script:
        "../scripts/fetch_zero_shot_weights.py"


rule measure_zero_shot:
    input:
        unpack(benchmark_files),
        weights=lambda wildcards: zero_shot.weights(config, wildcards.model),
        model=lambda wildcards: config_inputs(
            *models.files_of_model(zero_shot.model(config, wildcards.model))
        ),
    output:
        predictions="results/zero_shot/{benchmark}/{model}.parquet",
        facts="results/zero_shot/{benchmark}/{model}.json",
    log:
        "logs/measure_zero_shot/{benchmark}/{model}.log",
    benchmark:
        cost("measure_zero_shot/{benchmark}/{model}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
        gpu=gpus.of_rule(config, "measure_zero_shot"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("measure_zero_shot"),
        lambda wildcards: digests(
            *models.files_of_model(zero_shot.model(config, wildcards.model))
        ),
        spec=lambda wildcards: canonical(
            sections(
                config,
                ["countbench.replace", "evaluation.precision", "evaluation.threads"],
            )
            | {"model": zero_shot.model(config, wildcards.model)}
        ),
    message:
        "measure {wildcards.model} on {wildcards.benchmark}, without training"
    script:
        "../scripts/measure_zero_shot.py"


rule pack_retention:
    input:
        # Its files count (`digests`), not its age, which a copy renews.
        folder=lambda wildcards: ancient(
            retention.source(config, wildcards.task)["folder"]
        ),
        digests=lambda wildcards: retention_digests(wildcards.task),
        annotations=lambda wildcards: retention.source(config, wildcards.task)[
            "annotations"
        ]
        or [],
        model=packed_model_files,
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
        *code("pack_retention"),
        packed_model_digests,
        lambda wildcards: digests(
            retention.source(config, wildcards.task)["folder"],
            *listed(retention.source(config, wildcards.task)["annotations"]),
        ),
        spec=lambda wildcards: canonical(
            models.packing(packed_model(wildcards))
            | {"task": retention.source(config, wildcards.task)}
        ),
    message:
        "pack the retention task {wildcards.task}"
    script:
        "../scripts/pack_retention.py"


# For the models after the first one.
use rule pack_retention as pack_retention_of_model with:
    output:
        images="results/retention/{task}/images/{model}.npy",
        texts="results/retention/{task}/images/{model}.json",
    log:
        "logs/pack_retention/{task}_{model}.log",
    benchmark:
        cost("pack_retention/{task}_{model}")


rule measure_retention:
    input:
        images=packed("results/retention/{task}/images.npy"),
        texts="results/retention/{task}/texts.json",
        templates=lambda wildcards: config_inputs(
            *retention.templates(config, wildcards.task)
        ),
        model=model_inputs,
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
        gpu=gpus.of_rule(config, "measure_retention"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code("measure_retention"),
        lambda wildcards: digests(
            *models.model_files(config, wildcards.variant),
            *retention.templates(config, wildcards.task),
        ),
        spec=lambda wildcards: with_model(
            wildcards,
            "evaluation.precision",
            "evaluation.threads",
            templates=retention.templates(config, wildcards.task),
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
        counting_images=packed("results/training/images/{set}.npy"),
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images=packed("results/evaluation/countbench/images.npy"),
        intersection=benchmarks.intersection(config),
        images=lambda wildcards: [
            models.packed_for(
                config, f"results/retention/{task}/images.npy", wildcards.variant
            )
            for task in retention.tasks(config)
        ],
        texts=expand(
            "results/retention/{task}/texts.json",
            task=retention.tasks(config),
        ),
        templates=config_inputs(*retention.templates(config, *retention.tasks(config))),
        model=model_inputs,
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
        gpu=gpus.of_rule(config, "sweep_wise_ft"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        *code(
            "sweep_wise_ft",
            *retention.templates(config, *retention.tasks(config)),
            *listed(benchmarks.intersection(config)),
        ),
        lambda wildcards: digests(*models.model_files(config, wildcards.variant)),
        spec=lambda wildcards: with_model(
            wildcards,
            "countbench.variant",
            "countbench.replace",
            "evaluation.precision",
            "evaluation.threads",
            "wise_ft.alphas",
            tasks=[
                [name, retention.templates(config, name)]
                for name in retention.tasks(config)
            ],
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
        model=config_inputs(*models.model_files(config)),
        weights=runs.final_weights(config, "retrieval"),
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
        gpu=gpus.of_rule(config, "retrieve"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("retrieve", config["counting_set"]["nouns"], *models.model_files(config)),
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
        model=config_inputs(*models.model_files(config)),
        weights=runs.final_weights(config, "relevancy"),
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
        gpu=gpus.of_rule(config, "measure_relevancy"),
        accelerator=config["evaluation"]["accelerator"],
    params:
        *code("measure_relevancy", *models.model_files(config)),
        spec=spec("model", "evaluation.precision", "evaluation.threads"),
    message:
        "measure how much each token of a caption matters"
    script:
        "../scripts/measure_relevancy.py"
