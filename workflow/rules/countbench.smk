# The benchmark: what its links still show, and what stands in for the rest. How hard to try does
# not decide what comes out, so it is among the resources, which rerun nothing.


# Only where the config names an address: the list is not ours to pass on.
rule download_countbench:
    input:
        world=world(),
    output:
        list="results/countbench/list.json",
    log:
        "logs/download_countbench.log",
    retries: 2
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec(
            "network",
            "countbench.list_url",
            "countbench.list_sha256",
            "countbench.request.max_bytes",
        ),
        code=code("download_countbench"),
    message:
        "download the benchmark's list, verified"
    script:
        "../scripts/download_countbench.py"


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
    resources:
        connections=config["countbench"]["request"]["threads"],
        retries=config["countbench"]["request"]["retries"],
    params:
        spec=spec(
            "network",
            "countbench.request.timeout",
            "countbench.request.deadline",
            "countbench.request.max_bytes",
            "countbench.picture",
        ),
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
    resources:
        retries=config["countbench"]["request"]["retries"],
    params:
        spec=spec(
            "network",
            "countbench.request.timeout",
            "countbench.request.deadline",
            "countbench.request.max_bytes",
            "countbench.picture.max_pixels",
            "countbench.picture.min_side",
            "countbench.picture.placeholder_distance",
        ),
        code=code("repair_countbench"),
    message:
        "apply {input.repairs} to the benchmark"
    script:
        "../scripts/repair_countbench.py"
