# From LAION's metadata to images: list its parts, download, filter by caption, fetch.


rule make_manifest:
    input:
        files=local_files(),
        world=world(),
    output:
        manifest="results/laion/manifest.tsv",
    log:
        "logs/make_manifest.log",
    benchmark:
        cost("make_manifest")
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
            "laion.source",
            "laion.repository",
            "laion.revision",
            "laion.endpoint",
            "laion.folder",
        ),
        code=code("make_manifest"),
    message:
        "list the parts of the metadata with their sizes and sha256"
    script:
        "../scripts/make_manifest.py"


rule download_part:
    input:
        manifest=manifest(),
        world=world(),
    output:
        part="results/laion/parts/{part}.parquet",
    log:
        "logs/download_part/{part}.log",
    benchmark:
        cost("download_part/{part}")
    retries: 2
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=240,
    params:
        spec=spec("network", "laion.source", "laion.endpoint"),
        line=line_of,
        code=code("download_part"),
    message:
        "download {wildcards.part}, as the manifest describes it"
    script:
        "../scripts/download_part.py"


rule filter_captions:
    input:
        part="results/laion/parts/{part}.parquet",
    output:
        candidates="results/candidates/{part}.parquet",
        counts="results/candidates/{part}.json",
    log:
        "logs/filter_captions/{part}.log",
    benchmark:
        cost("filter_captions/{part}")
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        spec=spec("captions"),
        code=code("filter_captions"),
    message:
        "filter {wildcards.part}: captions that name a number, and a sample of the others"
    script:
        "../scripts/filter_captions.py"


# How hard to try does not decide what comes out, so it is among the resources, which rerun nothing.
rule fetch_images:
    input:
        candidates="results/candidates/{part}.parquet",
        world=world(),
    output:
        manifest="results/images/{part}.parquet",
        counts="results/images/{part}.json",
    log:
        "logs/fetch_images/{part}.log",
    benchmark:
        cost("fetch_images/{part}")
    retries: 1
    conda:
        "../../environment.yml"
    threads: config["fetch"]["processes"]
    resources:
        mem_mb=growing(8000),
        runtime=1440,
        shard_rows=config["fetch"]["shard_rows"],
        success_percent_min=config["fetch"]["success_percent_min"],
        connections=config["fetch"]["connections"],
        stall_minutes=config["fetch"]["stall_minutes"],
        attempts=config["fetch"]["attempts"],
    params:
        spec=spec("network", "fetch.images"),
        code=code("fetch_images"),
    message:
        "fetch the images of {wildcards.part} with img2dataset"
    script:
        "../scripts/fetch_images.py"
