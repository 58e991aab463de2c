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
        spec=spec("model", "evaluation.precision", "evaluation.threads"),
        code=code("measure_relevancy", *model_files()),
    message:
        "measure how much each token of a caption matters"
    script:
        "../scripts/measure_relevancy.py"


rule plot_relevancy:
    input:
        measured="results/relevancy/shares.parquet",
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
    output:
        csv=report(
            "results/relevancy.csv",
            category="Relevancy of the number word",
            labels={"format": "CSV"},
            caption="../report/relevancy.rst",
        ),
        svg=report(
            "results/figures/relevancy.svg",
            category="Relevancy of the number word",
            labels={"figure": "relevancy"},
            caption="../report/relevancy.rst",
        ),
        png="results/figures/relevancy.png",
    log:
        "logs/plot_relevancy.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=look_spec("relevancy"),
        code=code("plot_relevancy"),
    script:
        "../scripts/plot_relevancy.py"
