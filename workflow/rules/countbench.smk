rule audit_countbench:
    input:
        list=resource(config["countbench"]["list"]),
        world=world(),
    output:
        audit="results/countbench/audit.csv",
        images="results/countbench/audited_images.parquet",
    log:
        "logs/audit_countbench.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("countbench.request", "countbench.picture", "network"),
        code=code("audit_countbench"),
    message:
        "audit every link of the benchmark"
    script:
        "../scripts/audit_countbench.py"


rule repair_countbench:
    input:
        list=resource(config["countbench"]["list"]),
        audit="results/countbench/audit.csv",
        images="results/countbench/audited_images.parquet",
        repairs=resource(config["countbench"]["repairs"]),
        files=repair_files(),
        world=world(),
    output:
        benchmark="results/countbench/benchmark.parquet",
        images="results/countbench/images.parquet",
        summary="results/countbench/summary.json",
    log:
        "logs/repair_countbench.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("countbench.request", "countbench.picture", "network"),
        code=code("repair_countbench"),
    message:
        "apply {input.repairs} to the benchmark"
    script:
        "../scripts/repair_countbench.py"
