rule render_report:
    input:
        table1="results/table1.csv",
        table1_markdown="results/table1.md",
        tables=tables(),
        figures=figures(),
        funnels=expand("results/counting_set/{set}/summary.json", set=counting_sets()),
        benchmark="results/countbench/summary.json",
        further=expand(
            "results/benchmarks/{benchmark}/summary.json",
            benchmark=further_benchmarks(),
        ),
        models=runs("results/training/{variant}/seed{seed}/model.json"),
        pages=["results/table1.html", "results/countbench/audit.html"],
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


rule make_table1:
    input:
        predictions=predictions(),
        benchmark="results/countbench/benchmark.parquet",
        intersection=intersection(),
        paper=resource("resources/paper_table1.csv"),
        paper_matrices=resource("resources/paper_confusion_matrices.json"),
        template=resource("resources/table.html.jinja"),
        styles=[resource("resources/page.css"), resource("resources/table.css")],
    output:
        csv=report(
            "results/table1.csv",
            category="Table 1",
            labels={"format": "CSV"},
            caption="../report/table1.rst",
        ),
        per_class="results/table1_per_class.csv",
        markdown="results/table1.md",
        html=report(
            "results/table1.html",
            category="Table 1",
            labels={"format": "page"},
            caption="../report/table1.rst",
        ),
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


rule make_paper:
    input:
        matrices=resource("resources/paper_confusion_matrices.json"),
    output:
        csv=report(
            "results/paper.csv",
            category="The paper's own figures",
            labels={"format": "CSV"},
            caption="../report/paper.rst",
        ),
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
