# Further benchmarks, each from files of this machine: one more table of all models.


# Where pictures are published as addresses alone.
rule list_benchmark_links:
    input:
        rows=lambda wildcards: given(further(wildcards.benchmark)["path"])[0],
    output:
        links="results/benchmarks/{benchmark}/links.json",
    log:
        "logs/list_benchmark_links/{benchmark}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=lambda wildcards: canonical(
            {"caption": further(wildcards.benchmark)["caption"]}
        ),
        code=code("list_benchmark_links"),
    script:
        "../scripts/list_benchmark_links.py"


use rule ask_countbench as ask_benchmark with:
    input:
        list="results/benchmarks/{benchmark}/links.json",
        world=world(),
    output:
        answers=update("results/benchmarks/{benchmark}/answers.parquet"),
    log:
        "logs/ask_benchmark/{benchmark}.log",
    benchmark:
        cost("ask_benchmark/{benchmark}")
    message:
        "ask for every picture of {wildcards.benchmark}"


rule read_benchmark:
    input:
        rows=lambda wildcards: given(further(wildcards.benchmark)["path"])[0],
        pictures=lambda wildcards: own_pictures(wildcards.benchmark),
        answers=lambda wildcards: answers_of(wildcards.benchmark),
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
        counting=expand(
            "results/counting_set/{set}/counting.parquet", set=counting_sets()
        ),
        non_counting=expand(
            "results/counting_set/{set}/non_counting.parquet", set=counting_sets()
        ),
        countbench="results/countbench/benchmark.parquet",
    output:
        csv=report(
            "results/benchmarks/{benchmark}/table.csv",
            category="Further benchmarks",
            labels={"benchmark": "{benchmark}"},
            caption="../report/benchmark_table.rst",
        ),
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
                "reference": reference(),
                "scale": config["scale"],
                "distance": config["counting_set"]["phash_distance"],
            }
        ),
        code=code("make_benchmark_table"),
    script:
        "../scripts/make_benchmark_table.py"
