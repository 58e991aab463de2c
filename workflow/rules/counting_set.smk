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
        candidates=expand(
            "results/candidates/{part}.parquet", part=config["laion"]["parts"]
        ),
        counts=expand("results/candidates/{part}.json", part=config["laion"]["parts"]),
        images=expand("results/images/{part}.parquet", part=config["laion"]["parts"]),
        detections=expand(
            "results/detections/{part}.parquet", part=config["laion"]["parts"]
        ),
        benchmark="results/countbench/benchmark.parquet",
    output:
        counting="results/counting_set/counting.parquet",
        non_counting="results/counting_set/non_counting.parquet",
        class_frequency="results/counting_set/class_frequency.csv",
        summary="results/counting_set/summary.json",
    log:
        "logs/assemble_counting_set.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        spec=spec("laion.parts", "counting_set"),
        code=code("assemble_counting_set"),
    message:
        "assemble the counting set: match, remove duplicates and the benchmark, hold out"
    script:
        "../scripts/assemble_counting_set.py"
