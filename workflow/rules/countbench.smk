# The benchmark: what its links still show, and what stands in for the rest. How politely and how
# hard to ask does not decide what comes, so it is among the resources, which rerun nothing; and what
# came is judged by a rule of its own, so that nobody is asked twice because a limit has changed.


rule ask_countbench:
    input:
        list=lambda wildcards: benchmark_list(),
        world=world(),
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
        spec=spec(
            "network",
            "countbench.request.timeout",
            "countbench.request.deadline",
            "countbench.request.max_bytes",
        ),
        code=code("ask_countbench"),
    message:
        "ask for every link of the benchmark"
    script:
        "../scripts/ask_countbench.py"


# Only where the config names an address: the list is not ours to pass on.
rule download_countbench:
    input:
        world=world(),
    output:
        list="results/countbench/list.json",
    log:
        "logs/download_countbench.log",
    benchmark:
        cost("download_countbench")
    retries: 2
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
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
        answers="results/countbench/answers.parquet",
        lock=lock(),
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
        spec=spec("countbench.picture"),
        code=code("audit_countbench"),
    message:
        "judge what came for every link of the benchmark"
    script:
        "../scripts/audit_countbench.py"


# Its date is that of today, so nothing follows from this file until a person puts it elsewhere.
rule lock_countbench:
    input:
        audit="results/countbench/audit.csv",
        earlier=lock(),
    output:
        lock="results/countbench/countbench.lock.csv",
    log:
        "logs/lock_countbench.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec(),
        code=code("lock_countbench"),
    script:
        "../scripts/lock_countbench.py"


# For people: the lines, and the pictures that they name in a folder beside them.
rule offer_repairs:
    input:
        list=resource(config["countbench"]["list"]),
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
        spec=spec(
            "countbench.picture.max_pixels",
            "countbench.picture.min_side",
            "countbench.picture.placeholder_distance",
        ),
        code=code("offer_repairs"),
    script:
        "../scripts/offer_repairs.py"


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
