# From LAION's metadata to the pairs that teach counting: list, download, filter, fetch, detect, match.
# Or from images that somebody counted, which are read where they lie.
#
# Needs: the config's `laion` or the files of a counting set, the detector's weights, and of
# benchmarks.smk the benchmark that pairs are kept apart from.
# Makes: results/laion/, results/candidates/, results/images/, results/detections/ for each part,
# results/counted/ for images that somebody counted, results/counting_set/{set}/ for each set, and
# results/composed/ for sets that are composed from another one.
#
# Keys that only say how hard to try are resources, which rerun nothing.


rule make_manifest:
    input:
        files=laion.local_files(config),
        world=network.world(config),
    output:
        manifest="results/laion/manifest.tsv",
    log:
        "logs/make_manifest.log",
    benchmark:
        cost("make_manifest")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("make_manifest", *laion.local_files(config)),
        spec=spec(
            "network",
            "laion.source",
            "laion.repository",
            "laion.revision",
            "laion.endpoint",
            "laion.folder",
        ),
    message:
        "list the parts of the metadata with their sizes and sha256"
    script:
        "../scripts/make_manifest.py"


rule download_part:
    input:
        manifest=laion_manifest(),
        world=network.world(config),
    output:
        part="results/laion/parts/{part}.parquet",
    log:
        "logs/download_part/{part}.log",
    benchmark:
        cost("download_part/{part}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=240,
    params:
        *code("download_part"),
        spec=spec("network", "laion.source", "laion.endpoint"),
        line=lambda wildcards: laion.manifest_line(config, wildcards.part),
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
        *code("filter_captions"),
        spec=canonical(
            sections(config, ["captions"])
            | {"laion": {"images": config["laion"]["images"] is not None}}
        ),
    message:
        "filter the captions of {wildcards.part}"
    script:
        "../scripts/filter_captions.py"


# How hard to try does not decide what comes out, so it is among the resources, which rerun nothing.
rule fetch_images:
    input:
        candidates="results/candidates/{part}.parquet",
        world=network.world(config),
    output:
        manifest="results/images/{part}.parquet",
        counts="results/images/{part}.json",
    log:
        "logs/fetch_images/{part}.log",
    benchmark:
        cost("fetch_images/{part}")
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
        *code("fetch_images"),
        spec=spec("network", "fetch.images", "laion.images"),
    message:
        "fetch the images of {wildcards.part} with img2dataset"
    script:
        "../scripts/fetch_images.py"


rule fetch_weights:
    input:
        world=network.world(config),
    output:
        weights="results/weights/{name}.pt",
    log:
        "logs/fetch_weights/{name}.log",
    benchmark:
        cost("fetch_weights/{name}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        *code("fetch_weights"),
        spec=spec("network", "detector.download", "detector.sha256"),
    message:
        "download the detector's weights, as the config describes them"
    script:
        "../scripts/fetch_weights.py"


rule export_weights:
    input:
        weights=config_inputs(config["detector"]["weights"]),
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
        *code("export_weights", config["detector"]["weights"]),
        spec=spec(
            "detector.weights",
            "detector.sha256",
            "detector.image_size",
            "detector.batch",
        ),
    message:
        "export the detector's weights to {wildcards.form}"
    script:
        "../scripts/export_weights.py"


rule detect_objects:
    input:
        candidates="results/candidates/{part}.parquet",
        manifest="results/images/{part}.parquet",
        weights=config_inputs(detector.weights(config)),
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
        gpu=gpus.of_rule(config, "detect_objects"),
    params:
        *code("detect_objects", detector.weights(config)),
        spec=spec(
            *(
                f"detector.{key}"
                for key in config["detector"]
                if key not in ("download", "threads")
            )
        ),
        weights=lambda wildcards: prefixed(detector.weights(config)),
    message:
        "detect objects in the counting images of {wildcards.part}"
    script:
        "../scripts/detect_objects.py"


# Their images are no inputs, as there may be many: their digest is a param.
rule read_counted_images:
    input:
        rows=lambda wildcards: config_inputs(
            counting_sets.set_source(config, wildcards.set)["path"]
        )[0],
        captions=lambda wildcards: config_inputs(
            *listed(counting_sets.set_source(config, wildcards.set)["captions"])
        ),
        nouns=lambda wildcards: config_inputs(
            *listed(counting_sets.set_source(config, wildcards.set).get("nouns"))
        ),
    output:
        candidates="results/counted/candidates/{set}.parquet",
        counts="results/counted/candidates/{set}.json",
        manifest="results/counted/images/{set}.parquet",
    log:
        "logs/read_counted_images/{set}.log",
    benchmark:
        cost("read_counted_images/{set}")
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        *code("read_counted_images"),
        lambda wildcards: digests(
            counting_sets.set_source(config, wildcards.set)["path"],
            *listed(counting_sets.set_source(config, wildcards.set)["captions"]),
            *listed(counting_sets.set_source(config, wildcards.set).get("nouns")),
        ),
        lambda wildcards: digest_of_all(
            f"images of {wildcards.set}",
            counting_sets.counted_images(config, wildcards.set),
        ),
        spec=lambda wildcards: canonical(
            {"pairs": counting_sets.set_source(config, wildcards.set)}
            | sections(
                config,
                (
                    "captions.several",
                    "fetch.images.max_bytes",
                    "fetch.images.max_pixels",
                ),
            )
        ),
    message:
        "read the counted images of the counting set {wildcards.set}"
    script:
        "../scripts/read_counted_images.py"


use rule detect_objects as detect_in_counted_images with:
    input:
        candidates="results/counted/candidates/{set}.parquet",
        manifest="results/counted/images/{set}.parquet",
        weights=config_inputs(detector.weights(config)),
    output:
        detections="results/counted/detections/{set}.parquet",
    log:
        "logs/detect_in_counted_images/{set}.log",
    benchmark:
        cost("detect_in_counted_images/{set}")
    message:
        "detect objects in the counting images of the counting set {wildcards.set}"


rule assemble_counting_set:
    input:
        candidates=of_parts("candidates"),
        counts=of_parts("candidates", "json"),
        images=of_parts("images"),
        detections=lambda wildcards: set_detections(wildcards.set),
        nouns=lambda wildcards: config_inputs(
            *counting_sets.set_nouns(config, wildcards.set)
        ),
        benchmark=lambda wildcards: counting_sets.kept_apart(config, wildcards.set),
    output:
        counting="results/counting_set/{set}/counting.parquet",
        non_counting="results/counting_set/{set}/non_counting.parquet",
        class_frequency="results/counting_set/{set}/class_frequency.csv",
        summary="results/counting_set/{set}/summary.json",
    log:
        "logs/assemble_counting_set/{set}.log",
    benchmark:
        cost("assemble_counting_set/{set}")
    wildcard_constraints:
        set=any_of(
            set(config["counting_sets"]) - set(counting_sets.all_composed(config))
        ),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        *code("assemble_counting_set"),
        lambda wildcards: digests(*counting_sets.set_nouns(config, wildcards.set)),
        spec=lambda wildcards: canonical(
            {
                "parts": counting_sets.set_parts(config, wildcards.set),
                "counting_set": counting_sets.set_settings(config, wildcards.set),
            }
        ),
    message:
        "assemble the counting set {wildcards.set}"
    script:
        "../scripts/assemble_counting_set.py"


# From the images of one counting set another one, in which each number has as many pairs.
rule compose_pairs:
    input:
        counting=of_origin("counting.parquet"),
        non_counting=of_origin("non_counting.parquet"),
        class_frequency=of_origin("class_frequency.csv"),
        summary=of_origin("summary.json"),
        images=of_parts("images"),
        detections=of_parts("detections"),
        benchmark=lambda wildcards: counting_sets.kept_apart(config, wildcards.set),
    output:
        counting="results/counting_set/{set}/counting.parquet",
        non_counting="results/counting_set/{set}/non_counting.parquet",
        class_frequency="results/counting_set/{set}/class_frequency.csv",
        summary="results/counting_set/{set}/summary.json",
        pairs="results/composed/pairs/{set}.parquet",
        manifest="results/composed/images/{set}.parquet",
    log:
        "logs/compose_pairs/{set}.log",
    benchmark:
        cost("compose_pairs/{set}")
    wildcard_constraints:
        set=any_of(counting_sets.all_composed(config)),
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=480,
    params:
        *code("compose_pairs"),
        spec=lambda wildcards: canonical(
            counting_sets.compose_settings(config, wildcards.set)
        ),
    message:
        "compose the counting set {wildcards.set}"
    script:
        "../scripts/compose_pairs.py"


# Benchmarks of images whose number an edit leaves as it is, for a config that names their tables.
rule make_edit_controls:
    input:
        counting=of_origin("counting.parquet"),
        images=of_parts("images"),
        detections=of_parts("detections"),
    output:
        untouched="results/composed/controls/{set}/untouched.csv",
        erased="results/composed/controls/{set}/erased.csv",
        pasted="results/composed/controls/{set}/pasted.csv",
        images=directory("results/composed/controls/{set}/images"),
        summary="results/composed/controls/{set}.json",
    log:
        "logs/make_edit_controls/{set}.log",
    benchmark:
        cost("make_edit_controls/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        *code("make_edit_controls"),
        spec=lambda wildcards: canonical(
            counting_sets.compose_settings(config, wildcards.set)
        ),
    message:
        "edit objects of another class in held-out images of {wildcards.set}"
    script:
        "../scripts/make_edit_controls.py"


use rule detect_objects as detect_in_composed with:
    input:
        candidates="results/composed/pairs/{set}.parquet",
        manifest="results/composed/images/{set}.parquet",
        weights=config_inputs(detector.weights(config)),
    output:
        detections="results/composed/detections/{set}.parquet",
    log:
        "logs/detect_in_composed/{set}.log",
    benchmark:
        cost("detect_in_composed/{set}")
    message:
        "detect objects in the composed images of the counting set {wildcards.set}"


# No part of the main job: what a user's counted images say about the detector's settings.
rule detect_in_calibration:
    input:
        rows=config_inputs(config["calibration"]["path"]),
        weights=config_inputs(detector.weights(config)),
    output:
        found="results/detector/found.parquet",
    log:
        "logs/detect_in_calibration.log",
    benchmark:
        cost("detect_in_calibration")
    conda:
        "../../environment.yml"
    threads: config["detector"]["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=480,
        gpu=gpus.of_rule(config, "detect_in_calibration"),
    params:
        *code("detect_in_calibration", detector.weights(config)),
        lambda wildcards: digests(config["calibration"]["path"]),
        lambda wildcards: digest_of_all(
            "images of the calibration", detector.calibration_images(config)
        ),
        spec=canonical(detector.calibration(config)),
        weights=lambda wildcards: prefixed(detector.weights(config)),
    message:
        "detect objects in the counted images of the calibration"
    script:
        "../scripts/detect_in_calibration.py"
