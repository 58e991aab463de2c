# Fine-tuning: the images of each counting set packed once, then every variant with every seed.
#
# Needs: results/counting_set/{set}/, results/images/, and CountBench for the paper's protocol.
# Makes: results/training/{variant}/seed{seed}/: weights at three checkpoints, history, lambdas.


rule pack_images:
    input:
        counting="results/counting_set/{set}/counting.parquet",
        non_counting="results/counting_set/{set}/non_counting.parquet",
        images=each_part("results/images/{part}.parquet"),
        model=given(*model_forms()),
    output:
        images="results/training/images/{set}.npy",
    log:
        "logs/pack_images/{set}.log",
    benchmark:
        cost("pack_images/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        spec=spec("model.name", "model.config"),
        code=code("pack_images", *model_forms()),
    script:
        "../scripts/pack_images.py"


rule train_variant:
    input:
        counting=of_set("results/counting_set/{set}/counting.parquet"),
        non_counting=of_set("results/counting_set/{set}/non_counting.parquet"),
        images=of_set("results/training/images/{set}.npy"),
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        model=given(*model_files()),
    output:
        end="results/training/{variant}/seed{seed}/end.safetensors",
        best="results/training/{variant}/seed{seed}/best_on_benchmark.safetensors",
        selected="results/training/{variant}/seed{seed}/selected.safetensors",
        history="results/training/{variant}/seed{seed}/history.csv",
        lambdas="results/training/{variant}/seed{seed}/lambdas.csv",
        model="results/training/{variant}/seed{seed}/model.json",
    log:
        "logs/train_variant/{variant}_seed{seed}.log",
    benchmark:
        cost("train_variant/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: settings(wildcards.variant)["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=720,
        gpu=lambda wildcards: gpus_of(wildcards.variant),
        checkpoint_minutes=lambda wildcards: all_settings(wildcards.variant)[
            "checkpoint_minutes"
        ],
        loggers=lambda wildcards: ",".join(all_settings(wildcards.variant)["loggers"]),
    params:
        spec=lambda wildcards: canonical(
            {
                **sections(config, ["model", "countbench.replace"]),
                "counting_set": counting_set_of(wildcards.variant),
                "training": settings(wildcards.variant),
            }
        ),
        code=code("train_variant", *model_files()),
    message:
        "train {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/train_variant.py"
