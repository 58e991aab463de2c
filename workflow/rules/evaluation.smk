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
        spec=spec(
            "model", "countbench.replace", "evaluation.precision", "evaluation.threads"
        ),
        code=code("evaluate", *model_files()),
    message:
        "evaluate {wildcards.variant}, seed {wildcards.seed}, on {wildcards.benchmark}"
    script:
        "../scripts/evaluate.py"
