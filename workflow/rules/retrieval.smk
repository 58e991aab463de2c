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
        spec=spec(
            "model",
            "counting_set.nouns",
            "evaluation.precision",
            "evaluation.threads",
            "retrieval.prompt",
            "retrieval.anything",
        ),
        code=code("retrieve", config["counting_set"]["nouns"], *model_files()),
    message:
        "ask how similar each query by count is to the pictures that it ranks"
    script:
        "../scripts/retrieve.py"


rule make_retrieval_table:
    input:
        scores="results/retrieval/scores.parquet",
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
    output:
        csv=report(
            "results/retrieval.csv",
            category="Retrieval by count",
            labels={"format": "CSV"},
            caption="../report/retrieval.rst",
        ),
        markdown="results/retrieval.md",
    log:
        "logs/make_retrieval_table.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=look_spec("retrieval", "k"),
        code=code("make_retrieval_table"),
    script:
        "../scripts/make_retrieval_table.py"


rule plot_retrieval:
    input:
        scores="results/retrieval/scores.parquet",
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        intersection=intersection(),
    output:
        svg=report(
            "results/figures/retrieval.svg",
            category="Retrieval by count",
            labels={"figure": "retrieval"},
            caption="../report/retrieval.rst",
        ),
        png="results/figures/retrieval.png",
    log:
        "logs/plot_retrieval.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=look_spec("retrieval", "shown"),
        code=code("plot_retrieval"),
    script:
        "../scripts/plot_retrieval.py"
