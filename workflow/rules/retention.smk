# What the models could do before, on tasks of a person's choice, and the weights in between.


rule pack_retention:
    input:
        folder=lambda wildcards: retention_task(wildcards.task)["folder"],
        annotations=lambda wildcards: retention_task(wildcards.task)["annotations"]
        or [],
        model=given(*model_forms()),
    output:
        images="results/retention/{task}/images.npy",
        texts="results/retention/{task}/texts.json",
    log:
        "logs/pack_retention/{task}.log",
    benchmark:
        cost("pack_retention/{task}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        spec=lambda wildcards: canonical(
            sections(config, ["model.name", "model.config"])
            | {"task": retention_task(wildcards.task)}
        ),
        code=code("pack_retention", *model_forms()),
    message:
        "pack the retention task {wildcards.task}"
    script:
        "../scripts/pack_retention.py"


rule measure_retention:
    input:
        images="results/retention/{task}/images.npy",
        texts="results/retention/{task}/texts.json",
        templates=lambda wildcards: given(*templates_of(wildcards.task)),
        model=given(*model_files()),
        checkpoints=checkpoints("end", "selected"),
    output:
        answers="results/retention/{task}/{variant}/seed{seed}.parquet",
    log:
        "logs/measure_retention/{task}/{variant}_seed{seed}.log",
    benchmark:
        cost("measure_retention/{task}/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        spec=lambda wildcards: canonical(
            sections(config, ["model", "evaluation.precision", "evaluation.threads"])
            | {"templates": templates_of(wildcards.task)}
        ),
        code=lambda wildcards: code(
            "measure_retention", *model_files(), *templates_of(wildcards.task)
        ),
    message:
        "measure {wildcards.variant}, seed {wildcards.seed}, on {wildcards.task}"
    script:
        "../scripts/measure_retention.py"


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


rule sweep_wise_ft:
    input:
        weights=lambda wildcards: "results/training/{variant}/seed{seed}/"
        f"{config['wise_ft']['checkpoint']}.safetensors",
        counting=of_set("results/counting_set/{set}/counting.parquet"),
        counting_images=of_set("results/training/images/{set}.npy"),
        benchmark="results/countbench/benchmark.parquet",
        benchmark_images="results/countbench/images.parquet",
        intersection=intersection(),
        images=expand("results/retention/{task}/images.npy", task=retention_tasks()),
        texts=expand("results/retention/{task}/texts.json", task=retention_tasks()),
        templates=given(*templates_of(*retention_tasks())),
        model=given(*model_files()),
    output:
        measured="results/wise_ft/{variant}/seed{seed}.csv",
    log:
        "logs/sweep_wise_ft/{variant}_seed{seed}.log",
    benchmark:
        cost("sweep_wise_ft/{variant}_seed{seed}")
    conda:
        "../../environment.yml"
    threads: config["evaluation"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(480),
        gpu=int(config["evaluation"]["accelerator"] != "cpu"),
        accelerator=config["evaluation"]["accelerator"],
        batch=config["evaluation"]["batch"],
    params:
        spec=canonical(
            sections(
                config,
                [
                    "model",
                    "countbench.variant",
                    "countbench.replace",
                    "evaluation.precision",
                    "evaluation.threads",
                    "wise_ft.alphas",
                ],
            )
            | {"tasks": [[name, templates_of(name)] for name in retention_tasks()]}
        ),
        code=code("sweep_wise_ft", *model_files(), *templates_of(*retention_tasks())),
    message:
        "weights between the untouched model and {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/sweep_wise_ft.py"


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
