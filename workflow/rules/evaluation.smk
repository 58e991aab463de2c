rule evaluate:
    input:
        unpack(benchmark_of),
        model=given(*model_files()),
        checkpoints=checkpoints_of,
    output:
        predictions="results/evaluation/{benchmark}/{variant}/seed{seed}/predictions.parquet",
    log:
        "logs/evaluate/{benchmark}/{variant}_seed{seed}.log",
    benchmark:
        cost("evaluate/{benchmark}/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        spec=spec("model", "countbench.replace"),
        code=code("evaluate", *model_files()),
    message:
        "evaluate {wildcards.variant}, seed {wildcards.seed}, on {wildcards.benchmark}"
    script:
        "../scripts/evaluate.py"
