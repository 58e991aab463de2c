# Tables, figures and pages, from files alone: no model is loaded here.
#
# Needs: what evaluation.smk, training.smk, data.smk and benchmarks.smk make.
# Makes: results/*.csv, .json and .md, results/figures/, results/countbench/audit.html,
# results/report.html.


rule make_table1:
    input:
        predictions=predictions(),
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
        paper=resource("resources/paper_table1.csv"),
    output:
        csv=report(
            "results/table1.csv",
            category="Table 1",
            labels={"format": "CSV"},
            caption="../report/table1.rst",
        ),
        json="results/table1.json",
        per_class="results/table1_per_class.csv",
        markdown="results/table1.md",
        latex="results/table1.tex",
    log:
        "logs/make_table1.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=canonical(
            {
                "benchmark": config["countbench"]["variant"],
                "variants": about("schedule", "lambda_scheme", "loss"),
                "reference": reference(),
                "scale": config["scale"],
            }
        ),
        code=code("make_table1"),
    script:
        "../scripts/make_table1.py"


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
        json="results/benchmarks/{benchmark}/table.json",
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


rule make_paper:
    input:
        matrices=resource("resources/paper_confusion_matrices.json"),
    output:
        csv=report(
            "results/paper.csv",
            category="The paper's results",
            labels={"format": "CSV"},
            caption="../report/paper.rst",
        ),
        json="results/paper.json",
        markdown="results/paper.md",
    log:
        "logs/make_paper.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec(),
        code=code("make_paper"),
    script:
        "../scripts/make_paper.py"


rule make_ablations:
    input:
        table1="results/table1.csv",
    output:
        csv=report(
            "results/ablations.csv",
            category="Ablations",
            labels={"format": "CSV"},
            caption="../report/ablations.rst",
        ),
        json="results/ablations.json",
        markdown="results/ablations.md",
    log:
        "logs/make_ablations.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=ablations_spec,
        code=code("make_ablations"),
    script:
        "../scripts/make_ablations.py"


rule make_retention:
    input:
        answers=retention_answers(),
    output:
        csv=report(
            "results/retention.csv",
            category="Retention",
            labels={"table": "before and after"},
            caption="../report/retention.rst",
        ),
        json="results/retention.json",
        markdown="results/retention.md",
    log:
        "logs/make_retention.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=canonical({"variants": about(), "scale": config["scale"]}),
        code=code("make_retention"),
    script:
        "../scripts/make_retention.py"


rule make_wise_ft:
    input:
        runs=runs("results/wise_ft/{variant}/seed{seed}.csv", wise_ft_variants()),
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
    output:
        csv=report(
            "results/wise_ft.csv",
            category="Retention",
            labels={"table": "weights in between"},
            caption="../report/wise_ft.rst",
        ),
        json="results/wise_ft.json",
    log:
        "logs/make_wise_ft.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=look_spec("wise_ft", "checkpoint", tasks=retention_tasks()),
        code=code("make_wise_ft"),
    script:
        "../scripts/make_wise_ft.py"


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
        json="results/retrieval.json",
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


rule plot_class_frequency:
    input:
        class_frequency="results/counting_set/{set}/class_frequency.csv",
    output:
        svg=report(
            "results/figures/class_frequency_{set}.svg",
            category="Counting set",
            labels={"figure": "class frequency", "set": "{set}"},
            caption="../report/class_frequency.rst",
        ),
        png="results/figures/class_frequency_{set}.png",
    log:
        "logs/plot_class_frequency/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("scale"),
        code=code("plot_class_frequency"),
    script:
        "../scripts/plot_class_frequency.py"


rule plot_lambdas:
    input:
        class_frequency="results/counting_set/{set}/class_frequency.csv",
    output:
        svg=report(
            "results/figures/lambdas_{set}.svg",
            category="Counting set",
            labels={"figure": "lambda per class", "set": "{set}"},
            caption="../report/lambdas.rst",
        ),
        png="results/figures/lambdas_{set}.png",
    log:
        "logs/plot_lambdas/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("scale"),
        code=code("plot_lambdas"),
    script:
        "../scripts/plot_lambdas.py"


rule plot_training_curves:
    input:
        histories=runs("results/training/{variant}/seed{seed}/history.csv"),
    output:
        svg=report(
            "results/figures/training_curves.svg",
            category="Training",
            labels={"figure": "training curves"},
            caption="../report/training_curves.rst",
        ),
        png="results/figures/training_curves.png",
    log:
        "logs/plot_training_curves.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=canonical({"variants": about(), "scale": config["scale"]}),
        code=code("plot_training_curves"),
    script:
        "../scripts/plot_training_curves.py"


rule plot_confusion:
    input:
        predictions=predictions(),
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
    output:
        svg=report(
            "results/figures/confusion_{figure}.svg",
            category="Confusion matrices",
            labels={"figure": "{figure}"},
            caption="../report/confusion.rst",
        ),
        png="results/figures/confusion_{figure}.png",
    log:
        "logs/plot_confusion/{figure}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=confusion_spec,
        code=code("plot_confusion"),
    script:
        "../scripts/plot_confusion.py"


rule plot_wise_ft:
    input:
        table="results/wise_ft.csv",
    output:
        svg=report(
            "results/figures/wise_ft.svg",
            category="Retention",
            labels={"figure": "weights in between"},
            caption="../report/wise_ft.rst",
        ),
        png="results/figures/wise_ft.png",
    log:
        "logs/plot_wise_ft.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("scale"),
        code=code("plot_wise_ft"),
    script:
        "../scripts/plot_wise_ft.py"


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
        json="results/relevancy.json",
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


rule render_audit:
    input:
        list=resource(config["countbench"]["list"]),
        audit="results/countbench/audit.csv",
        audited_images="results/countbench/audited_images.parquet",
        repairs=resource(config["countbench"]["repairs"]),
        offered="results/countbench/offered/repairs.csv",
        benchmark="results/countbench/benchmark.parquet",
        images="results/countbench/images.parquet",
        intersection=intersection(),
        template=resource("resources/audit.html.jinja"),
        parts=[
            resource(f"resources/{name}")
            for name in ("page.css", "audit.css", "audit.js")
        ],
    output:
        page=report(
            "results/countbench/audit.html",
            category="Benchmark",
            labels={"page": "audit"},
            caption="../report/audit.rst",
        ),
    log:
        "logs/render_audit.log",
    benchmark:
        cost("render_audit")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        spec=spec("scale"),
        code=code("render_audit"),
    message:
        "the page of the audit, for a person to mend the benchmark on"
    script:
        "../scripts/render_audit.py"


rule render_report:
    input:
        table1="results/table1.csv",
        table1_json="results/table1.json",
        tables=tables(),
        figures=figures(),
        funnels=expand("results/counting_set/{set}/summary.json", set=counting_sets()),
        benchmark="results/countbench/summary.json",
        further=expand(
            "results/benchmarks/{benchmark}/summary.json",
            benchmark=further_benchmarks(),
        ),
        models=runs("results/training/{variant}/seed{seed}/model.json"),
        pages=["results/table1.md", "results/countbench/audit.html"],
        template=resource("resources/report.html.jinja"),
        styles=expand(
            resource("resources/{name}.css"), name=["page", "table", "report"]
        ),
    output:
        page="results/report.html",
    log:
        "logs/render_report.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("scale"),
        code=code("render_report"),
        # Shown as they are found: what takes `resources` triggers nothing.
        costs=lambda wildcards, resources: placed(COSTS),
        gpus=lambda wildcards, resources: gpus(),
    script:
        "../scripts/render_report.py"
