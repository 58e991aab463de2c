# CountBench, checked and repaired, and further benchmarks from files of this machine.
#
# Needs: CountBench's list, a person's repairs.csv, the files of each further benchmark.
# Makes: results/countbench/ and results/benchmarks/{benchmark}/: benchmark.parquet, images.parquet.
#
# How politely to ask is among the resources, which rerun nothing. What came is judged by a rule of
# its own, so that nobody is asked twice because a limit has changed.


rule ask_countbench:
    input:
        list=lambda wildcards: benchmarks.benchmark_list(config),
        world=network.world(config),
    output:
        # Kept until it is replaced: asking again may end in an outage.
        answers=update("results/countbench/answers.parquet"),
    log:
        "logs/ask_countbench.log",
    benchmark:
        cost("ask_countbench")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        connections=config["countbench"]["request"]["threads"],
        per_host=config["countbench"]["request"]["per_host"],
        pause_ms=config["countbench"]["request"]["pause_ms"],
        retries=config["countbench"]["request"]["retries"],
        contact=config["countbench"]["request"]["contact"],
        witness=config["countbench"]["request"]["witness"],
    params:
        *code("ask_countbench"),
        list_digest,
        spec=spec(
            "network",
            "countbench.request.timeout",
            "countbench.request.deadline",
            "countbench.request.max_bytes",
        ),
    message:
        "ask for every link of the benchmark"
    script:
        "../scripts/ask_countbench.py"


# Only where the config names an address: the list is not ours to pass on.
rule download_countbench:
    input:
        world=network.world(config),
    output:
        list="results/countbench/list.json",
    log:
        "logs/download_countbench.log",
    benchmark:
        cost("download_countbench")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("download_countbench"),
        spec=spec(
            "network",
            "countbench.list_url",
            "countbench.list_sha256",
            "countbench.request.max_bytes",
        ),
    message:
        "download the benchmark's list, verified"
    script:
        "../scripts/download_countbench.py"


rule audit_countbench:
    input:
        list=lambda wildcards: benchmarks.countbench_list(config),
        answers="results/countbench/answers.parquet",
        lock=benchmarks.lock(config),
    output:
        audit="results/countbench/audit.csv",
        images="results/countbench/audited_images.parquet",
    log:
        "logs/audit_countbench.log",
    benchmark:
        cost("audit_countbench")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code(
            "audit_countbench",
            *listed(config["countbench"]["list"]),
            *listed(config["countbench"]["lock"]),
        ),
        spec=spec("countbench.picture"),
    message:
        "judge what came for every link of the benchmark"
    script:
        "../scripts/audit_countbench.py"


# Its date is that of today, so nothing follows from this file until a person puts it elsewhere.
rule lock_countbench:
    input:
        audit="results/countbench/audit.csv",
        earlier=benchmarks.lock(config),
    output:
        lock="results/countbench/countbench.lock.csv",
    log:
        "logs/lock_countbench.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("lock_countbench", *listed(config["countbench"]["lock"])),
        spec=spec(),
    script:
        "../scripts/lock_countbench.py"


# For people: the lines, and the pictures that they name in a folder beside them.
rule offer_repairs:
    input:
        list=lambda wildcards: benchmarks.countbench_list(config),
        audit="results/countbench/audit.csv",
        pictures=config["countbench"]["copy"] or [],
    output:
        lines="results/countbench/offered/repairs.csv",
    log:
        "logs/offer_repairs.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code(
            "offer_repairs",
            *listed(config["countbench"]["list"]),
            *listed(config["countbench"]["copy"]),
        ),
        spec=spec(
            "countbench.picture.max_pixels",
            "countbench.picture.min_side",
            "countbench.picture.placeholder_distance",
        ),
    script:
        "../scripts/offer_repairs.py"


rule repair_countbench:
    input:
        list=lambda wildcards: benchmarks.countbench_list(config),
        audit="results/countbench/audit.csv",
        images="results/countbench/audited_images.parquet",
        repairs=resource(config["countbench"]["repairs"]),
        files=benchmarks.repair_images(config),
        world=network.world(config),
    output:
        benchmark="results/countbench/benchmark.parquet",
        images="results/countbench/images.parquet",
        summary="results/countbench/summary.json",
    log:
        "logs/repair_countbench.log",
    benchmark:
        cost("repair_countbench")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        pause_ms=config["countbench"]["request"]["pause_ms"],
        retries=config["countbench"]["request"]["retries"],
    params:
        *code(
            "repair_countbench",
            *listed(config["countbench"]["list"]),
            config["countbench"]["repairs"],
        ),
        *digest_of_all("images of repairs.csv", benchmarks.repair_images(config)),
        spec=spec(
            "network",
            "countbench.request.timeout",
            "countbench.request.deadline",
            "countbench.request.max_bytes",
            "countbench.picture.max_pixels",
            "countbench.picture.min_side",
            "countbench.picture.placeholder_distance",
        ),
    message:
        "apply {input.repairs} to the benchmark"
    script:
        "../scripts/repair_countbench.py"


rule list_benchmark_links:
    input:
        rows=lambda wildcards: config_inputs(
            benchmarks.benchmark_settings(config, wildcards.benchmark)["path"]
        )[0],
    output:
        links="results/benchmarks/{benchmark}/links.json",
    log:
        "logs/list_benchmark_links/{benchmark}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("list_benchmark_links"),
        lambda wildcards: digests(
            benchmarks.benchmark_settings(config, wildcards.benchmark)["path"]
        ),
        spec=lambda wildcards: canonical(
            {
                "caption": benchmarks.benchmark_settings(config, wildcards.benchmark)[
                    "caption"
                ]
            }
        ),
    script:
        "../scripts/list_benchmark_links.py"


use rule ask_countbench as ask_benchmark with:
    input:
        list="results/benchmarks/{benchmark}/links.json",
        world=network.world(config),
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
        rows=lambda wildcards: config_inputs(
            benchmarks.benchmark_settings(config, wildcards.benchmark)["path"]
        )[0],
        pictures=lambda wildcards: listed_images(wildcards.benchmark),
        answers=lambda wildcards: link_answers(wildcards.benchmark),
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
        *code("read_benchmark"),
        lambda wildcards: digests(
            benchmarks.benchmark_settings(config, wildcards.benchmark)["path"]
        ),
        lambda wildcards: digest_of_all(
            f"images of {wildcards.benchmark}", listed_images(wildcards.benchmark)
        ),
        spec=lambda wildcards: canonical(
            benchmarks.benchmark_settings(config, wildcards.benchmark)
            | sections(
                config,
                (
                    "countbench.request.max_bytes",
                    "countbench.picture.max_pixels",
                    "countbench.picture.min_side",
                ),
            )
        ),
    message:
        "read the benchmark {wildcards.benchmark}"
    script:
        "../scripts/read_benchmark.py"
