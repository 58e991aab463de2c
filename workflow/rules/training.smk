# Fine-tuning: the images of each counting set packed once, then every variant with every seed.
#
# Needs: results/counting_set/{set}/, the images of its parts, and the main benchmark, CountBench where
# there is one, for the paper's protocol.
# Makes: results/training/{variant}/seed{seed}/: weights at three checkpoints, history, lambdas.


rule pack_images:
    input:
        counting="results/counting_set/{set}/counting.parquet",
        non_counting="results/counting_set/{set}/non_counting.parquet",
        images=lambda wildcards: counting_sets.image_manifests(config, wildcards.set),
        model=packed_model_files,
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
        *code("pack_images"),
        packed_model_digests,
        spec=lambda wildcards: canonical(models.packing(packed_model(wildcards))),
    script:
        "../scripts/pack_images.py"


# For the models after the first one.
use rule pack_images as pack_images_of_model with:
    output:
        images="results/training/images/{set}/{model}.npy",
    log:
        "logs/pack_images/{set}_{model}.log",
    benchmark:
        cost("pack_images/{set}_{model}")


rule train_variant:
    input:
        unpack(packed_benchmark),
        counting=of_set("results/counting_set/{set}/counting.parquet"),
        non_counting=of_set("results/counting_set/{set}/non_counting.parquet"),
        images=packed("results/training/images/{set}.npy"),
        model=model_inputs,
        objects=lambda wildcards: soft_targets.listed_objects(config, wildcards.variant),
    output:
        end="results/training/{variant}/seed{seed}/end.safetensors",
        best="results/training/{variant}/seed{seed}/best_on_benchmark.safetensors",
        selected="results/training/{variant}/seed{seed}/selected.safetensors",
        history="results/training/{variant}/seed{seed}/history.csv",
        lambdas="results/training/{variant}/seed{seed}/lambdas.csv",
        model="results/training/{variant}/seed{seed}/model.json",
        config="results/training/{variant}/seed{seed}/open_clip_config.json",
        link="results/training/{variant}/seed{seed}/open_clip_model.safetensors",
    log:
        "logs/train_variant/{variant}_seed{seed}.log",
    benchmark:
        cost("train_variant/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: variants.training_settings(config, wildcards.variant)["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=720,
        gpu=lambda wildcards: gpus.of_rule(config, "train_variant", wildcards.variant),
        checkpoint_minutes=lambda wildcards: variants.variant_settings(
            config, wildcards.variant
        )["checkpoint_minutes"],
        loggers=lambda wildcards: ",".join(
            variants.variant_settings(config, wildcards.variant)["loggers"]
        ),
    params:
        *code("train_variant"),
        lambda wildcards: digests(
            *models.model_files(config, wildcards.variant),
            *soft_targets.target_lexicons(config, wildcards.variant),
        ),
        spec=lambda wildcards: with_model(
            wildcards,
            "countbench.replace",
            counting_set=counting_sets.of_variant(config, wildcards.variant),
            training=variants.training_settings(config, wildcards.variant),
        ),
    message:
        "train {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/train_variant.py"
