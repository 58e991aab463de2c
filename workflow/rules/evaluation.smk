rule evaluate_baseline:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        model=given(*model_files()),
    output:
        predictions="results/evaluation/baseline/seed0/predictions.parquet",
    log:
        "logs/evaluate_baseline.log",
    benchmark:
        cost("evaluate_baseline")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        spec=spec("model", "countbench.replace"),
        code=code("evaluate_baseline", *model_files()),
    script:
        "../scripts/evaluate_baseline.py"


rule evaluate_variant:
    input:
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        model=given(*model_files()),
        end="results/training/{variant}/seed{seed}/end.safetensors",
        best="results/training/{variant}/seed{seed}/best_on_benchmark.safetensors",
        selected="results/training/{variant}/seed{seed}/selected.safetensors",
    output:
        predictions="results/evaluation/{variant}/seed{seed}/predictions.parquet",
    log:
        "logs/evaluate_variant/{variant}_seed{seed}.log",
    benchmark:
        cost("evaluate_variant/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        spec=spec("model", "countbench.replace"),
        code=code("evaluate_variant", *model_files()),
    script:
        "../scripts/evaluate_variant.py"
