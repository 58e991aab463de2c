# From images to the pairs that teach counting.


rule fetch_weights:
    input:
        world=world(),
    output:
        weights="results/weights/{name}.pt",
    log:
        "logs/fetch_weights/{name}.log",
    benchmark:
        cost("fetch_weights/{name}")
    retries: 2
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        spec=spec("network", "detector.download", "detector.sha256"),
        code=code("fetch_weights"),
    message:
        "download the detector's weights, as the config describes them"
    script:
        "../scripts/fetch_weights.py"


rule export_weights:
    input:
        weights=given(config["detector"]["weights"]),
    output:
        weights="results/weights/exported/{name}.{form}",
    log:
        "logs/export_weights/{name}.{form}.log",
    benchmark:
        cost("export_weights/{name}.{form}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=lambda wildcards: int(wildcards.form == "engine"),
    params:
        spec=spec(
            "detector.weights",
            "detector.sha256",
            "detector.image_size",
            "detector.batch",
        ),
        code=code("export_weights", config["detector"]["weights"]),
    message:
        "export the detector's weights to {wildcards.form}"
    script:
        "../scripts/export_weights.py"


rule detect_objects:
    input:
        candidates="results/candidates/{part}.parquet",
        manifest="results/images/{part}.parquet",
        weights=given(weights()),
    output:
        detections="results/detections/{part}.parquet",
    log:
        "logs/detect_objects/{part}.log",
    benchmark:
        cost("detect_objects/{part}")
    conda:
        "../../environment.yml"
    threads: config["detector"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=480,
        gpu=0 if config["detector"]["device"] == "cpu" else 1,
    params:
        spec=spec(
            *(
                f"detector.{key}"
                for key in config["detector"]
                if key not in ("download", "threads")
            )
        ),
        code=code("detect_objects", weights()),
        weights=lambda wildcards: placed(weights()),
    message:
        "detect objects in the counting images of {wildcards.part}"
    script:
        "../scripts/detect_objects.py"


rule assemble_counting_set:
    input:
        candidates=each_part("results/candidates/{part}.parquet"),
        counts=each_part("results/candidates/{part}.json"),
        images=each_part("results/images/{part}.parquet"),
        detections=detections_of,
        nouns=lambda wildcards: given(*nouns_of(wildcards.set)),
        benchmark="results/countbench/benchmark.parquet",
    output:
        counting="results/counting_set/{set}/counting.parquet",
        non_counting="results/counting_set/{set}/non_counting.parquet",
        class_frequency="results/counting_set/{set}/class_frequency.csv",
        summary="results/counting_set/{set}/summary.json",
    log:
        "logs/assemble_counting_set/{set}.log",
    benchmark:
        cost("assemble_counting_set/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        spec=lambda wildcards: canonical(
            {
                "parts": config["laion"]["parts"],
                "counting_set": set_settings(wildcards.set),
            }
        ),
        code=lambda wildcards: code("assemble_counting_set", *nouns_of(wildcards.set)),
    message:
        "assemble the counting set {wildcards.set}: match, remove duplicates and the benchmark, hold out"
    script:
        "../scripts/assemble_counting_set.py"
