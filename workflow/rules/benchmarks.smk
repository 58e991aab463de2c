# Further benchmarks, each from files of this machine: one more table of all models.


rule read_benchmark:
    input:
        rows=lambda wildcards: given(further(wildcards.benchmark)["path"])[0],
        pictures=lambda wildcards: own_pictures(wildcards.benchmark),
    output:
        benchmark="results/benchmarks/{benchmark}/benchmark.parquet",
        images="results/benchmarks/{benchmark}/images.parquet",
        summary="results/benchmarks/{benchmark}/summary.json",
    log:
        "logs/read_benchmark/{benchmark}.log",
    benchmark:
        cost("read_benchmark/{benchmark}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        spec=lambda wildcards: canonical(
            further(wildcards.benchmark)
            | sections(
                config,
                (
                    "countbench.request.max_bytes",
                    "countbench.picture.max_pixels",
                    "countbench.picture.min_side",
                ),
            )
        ),
        code=code("read_benchmark"),
    message:
        "read the benchmark {wildcards.benchmark}"
    script:
        "../scripts/read_benchmark.py"


rule make_benchmark_table:
    input:
        predictions=lambda wildcards: predictions(wildcards.benchmark),
        benchmark="results/benchmarks/{benchmark}/benchmark.parquet",
    output:
        csv="results/benchmarks/{benchmark}/table.csv",
        markdown="results/benchmarks/{benchmark}/table.md",
    log:
        "logs/make_benchmark_table/{benchmark}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=canonical(
            {
                "variants": about("schedule", "lambda_scheme", "loss"),
                "scale": config["scale"],
            }
        ),
        code=code("make_benchmark_table"),
    script:
        "../scripts/make_benchmark_table.py"
