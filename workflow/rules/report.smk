# Tables, figures and pages, from files alone: no model is loaded here.
#
# Needs: what evaluation.smk, training.smk, data.smk and benchmarks.smk make.
# Makes: results/*.csv, .json and .md, results/figures/, results/countbench/audit.html,
# results/report.html.


rule make_table1:
    input:
        predictions=runs.predictions(config),
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("make_table1", *listed(benchmarks.intersection(config))),
        spec=canonical(
            {
                "benchmark": config["countbench"]["variant"],
                "variants": views.variant_rows(
                    config, "schedule", "lambda_scheme", "loss"
                ),
                "reference": variants.reference(config),
                "scale": config["scale"],
                **models.with_baselines(config),
            }
        ),
    script:
        "../scripts/make_table1.py"


rule make_benchmark_table:
    input:
        predictions=lambda wildcards: runs.predictions(config, wildcards.benchmark),
        benchmark="results/benchmarks/{benchmark}/benchmark.parquet",
        counting=each_set("results/counting_set/{set}/counting.parquet"),
        non_counting=each_set("results/counting_set/{set}/non_counting.parquet"),
        countbench=lambda wildcards: benchmarks.other_benchmark(
            config, wildcards.benchmark
        ),
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
        *code("make_benchmark_table"),
        spec=canonical(
            {
                "variants": views.variant_rows(
                    config, "schedule", "lambda_scheme", "loss"
                ),
                "reference": variants.reference(config),
                "scale": config["scale"],
                "distance": config["counting_set"]["phash_distance"],
                **models.with_baselines(config),
                "chosen_on": benchmarks.main_benchmark(config),
            }
        ),
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
        *code("make_paper"),
        spec=spec(),
    script:
        "../scripts/make_paper.py"


rule make_zero_shot_table:
    input:
        predictions=[
            f"results/zero_shot/{benchmark}/{model['id']}.parquet"
            for benchmark in zero_shot.benchmark_ids(config)
            for model in zero_shot.all_models(config)
        ],
        facts=[
            f"results/zero_shot/{benchmark}/{model['id']}.json"
            for benchmark in zero_shot.benchmark_ids(config)
            for model in zero_shot.all_models(config)
        ],
        countbench=benchmarks.countbench_file(config, "benchmark.parquet"),
        further=expand(
            "results/benchmarks/{benchmark}/benchmark.parquet",
            benchmark=benchmarks.further(config),
        ),
        intersection=benchmarks.intersection(config),
        published=resource("resources/zero_shot_published.csv"),
    output:
        csv=report(
            "results/zero_shot/table.csv",
            category="Zero-shot",
            labels={"format": "CSV"},
            caption="../report/zero_shot.rst",
        ),
        json="results/zero_shot/table.json",
        markdown="results/zero_shot/table.md",
    log:
        "logs/make_zero_shot_table.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_zero_shot_table", *listed(benchmarks.intersection(config))),
        digests("resources/zero_shot_published.csv"),
        spec=canonical(
            {
                "benchmark": config["countbench"]["variant"],
                "further": benchmarks.further(config),
                "models": [
                    {key: model[key] for key in ("id", "label", "name", "pretrained")}
                    for model in zero_shot.all_models(config)
                ],
                "scale": config["scale"],
            }
        ),
    script:
        "../scripts/make_zero_shot_table.py"


rule make_ablations:
    input:
        table1="results/table1.csv",
        predictions=runs.predictions(config),
        histories=runs.each(
            config,
            "results/training/{variant}/seed{seed}/history.csv",
            soft_targets.soft_variants(config),
        ),
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("make_ablations", *listed(benchmarks.intersection(config))),
        spec=lambda wildcards: canonical(views.ablation_settings(config)),
    script:
        "../scripts/make_ablations.py"


rule make_retention:
    input:
        answers=runs.retention_answers(config),
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
        *code("make_retention"),
        spec=canonical(
            {
                "variants": views.variant_rows(config),
                "scale": config["scale"],
                **models.with_baselines(config),
            }
        ),
    script:
        "../scripts/make_retention.py"


rule make_wise_ft:
    input:
        runs=runs.each(
            config,
            "results/wise_ft/{variant}/seed{seed}.csv",
            retention.wise_ft_variants(config),
        ),
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("make_wise_ft", *listed(benchmarks.intersection(config))),
        spec=view_spec("wise_ft", "checkpoint", tasks=retention.tasks(config)),
    script:
        "../scripts/make_wise_ft.py"


rule make_retrieval_table:
    input:
        scores="results/retrieval/scores.parquet",
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("make_retrieval_table", *listed(benchmarks.intersection(config))),
        spec=view_spec("retrieval", "k"),
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
        *code("plot_class_frequency"),
        spec=spec("scale"),
    script:
        "../scripts/plot_class_frequency.py"


rule make_calibration:
    input:
        found="results/detector/found.parquet",
        nouns=config_inputs(*detector.calibration_nouns(config)),
    output:
        csv="results/detector/calibration.csv",
    log:
        "logs/make_calibration.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_calibration", *detector.calibration_nouns(config)),
        lambda wildcards: digests(*detector.calibration_nouns(config)),
        spec=canonical(detector.calibration_table(config)),
    script:
        "../scripts/make_calibration.py"


rule make_composed_check:
    input:
        pairs=expand(
            "results/composed/pairs/{set}.parquet", set=counting_sets.composed(config)
        ),
        detections=expand(
            "results/composed/detections/{set}.parquet",
            set=counting_sets.composed(config),
        ),
    output:
        csv=report(
            "results/composed/check.csv",
            category="Counting set",
            labels={"table": "detector check of composed images"},
            caption="../report/composed_check.rst",
        ),
        json="results/composed/check.json",
        markdown="results/composed/check.md",
    log:
        "logs/make_composed_check.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_composed_check"),
        spec=canonical(
            {
                "confidence": [
                    counting_sets.set_settings(config, name)["confidence"]
                    for name in counting_sets.composed(config)
                ],
                "scale": config["scale"],
            }
        ),
    script:
        "../scripts/make_composed_check.py"


rule draw_composed:
    input:
        pairs=expand(
            "results/composed/pairs/{set}.parquet", set=counting_sets.composed(config)
        ),
        images=sorted(
            {
                manifest
                for name in counting_sets.composed(config)
                for manifest in counting_sets.image_manifests(config, name)
            }
        ),
    output:
        svg=report(
            "results/figures/composed.svg",
            category="Counting set",
            labels={"figure": "composed images"},
            caption="../report/composed.rst",
        ),
        png="results/figures/composed.png",
    log:
        "logs/draw_composed.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("draw_composed"),
        spec=spec("scale"),
    script:
        "../scripts/draw_composed.py"


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
        *code("plot_lambdas"),
        spec=spec("scale"),
    script:
        "../scripts/plot_lambdas.py"


rule plot_training_curves:
    input:
        histories=runs.each(config, "results/training/{variant}/seed{seed}/history.csv"),
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
        *code("plot_training_curves"),
        spec=canonical(
            {"variants": views.variant_rows(config), "scale": config["scale"]}
        ),
    script:
        "../scripts/plot_training_curves.py"


rule plot_confusion:
    input:
        predictions=runs.predictions(config),
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("plot_confusion", *listed(benchmarks.intersection(config))),
        spec=lambda wildcards: view_spec(
            f"figures.confusion.{wildcards.figure}", "checkpoint"
        ),
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
        *code("plot_wise_ft"),
        spec=spec("scale"),
    script:
        "../scripts/plot_wise_ft.py"


rule plot_retrieval:
    input:
        scores="results/retrieval/scores.parquet",
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("plot_retrieval", *listed(benchmarks.intersection(config))),
        spec=view_spec("retrieval", "shown"),
    script:
        "../scripts/plot_retrieval.py"


rule plot_relevancy:
    input:
        measured="results/relevancy/shares.parquet",
        benchmark="results/countbench/benchmark.parquet",
        intersection=benchmarks.intersection(config),
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
        *code("plot_relevancy", *listed(benchmarks.intersection(config))),
        spec=view_spec("relevancy"),
    script:
        "../scripts/plot_relevancy.py"


rule render_audit:
    input:
        list=lambda wildcards: benchmarks.countbench_list(config),
        audit="results/countbench/audit.csv",
        audited_images="results/countbench/audited_images.parquet",
        repairs=resource(config["countbench"]["repairs"]),
        offered="results/countbench/offered/repairs.csv",
        benchmark="results/countbench/benchmark.parquet",
        images="results/countbench/images.parquet",
        intersection=benchmarks.intersection(config),
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
        *code(
            "render_audit",
            *listed(config["countbench"]["list"]),
            config["countbench"]["repairs"],
            *listed(benchmarks.intersection(config)),
        ),
        spec=spec("scale"),
    message:
        "the page of the audit, for a person to mend the benchmark on"
    script:
        "../scripts/render_audit.py"


rule render_report:
    input:
        table1=lambda wildcards: benchmarks.main_table(config),
        results=targets(config),
        funnels=each_set("results/counting_set/{set}/summary.json"),
        benchmark=lambda wildcards: benchmarks.countbench_file(config, "summary.json"),
        further=expand(
            "results/benchmarks/{benchmark}/summary.json",
            benchmark=benchmarks.further(config),
        ),
        models=runs.each(config, "results/training/{variant}/seed{seed}/model.json"),
        audit=lambda wildcards: benchmarks.countbench_file(config, "audit.html"),
        template=resource("resources/report.html.jinja"),
        styles=expand(
            resource("resources/{name}.css"), name=["page", "table", "report"]
        ),
    output:
        page=report(
            "results/report.html",
            category="Report",
            labels={"page": "the whole run"},
            caption="../report/report.rst",
        ),
    log:
        "logs/render_report.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("render_report"),
        spec=spec("scale"),
        # Shown as they are found: what takes `resources` triggers nothing.
        costs=lambda wildcards, resources: prefixed(COSTS),
        gpus=lambda wildcards, resources: gpus.by_job(config),
    script:
        "../scripts/render_report.py"
