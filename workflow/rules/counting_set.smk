# From images to the pairs that teach counting.


rule detect_objects:
    input:
        candidates="results/candidates/{part}.parquet",
        manifest="results/images/{part}.parquet",
        weights=given(config["detector"]["weights"]),
    output:
        detections="results/detections/{part}.parquet",
    log:
        "logs/detect_objects/{part}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0 if config["detector"]["device"] == "cpu" else 1,
    params:
        spec=spec("detector"),
        code=code("detect_objects", config["detector"]["weights"]),
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
    conda:
        "../../environment.yml"
    threads: 1
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
