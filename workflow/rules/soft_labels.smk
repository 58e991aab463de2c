# Objects of captions, for soft labels: which there are, and how rare most of them are.
#
# Needs: the candidates of data.smk, or files of the config's `soft_labels.caption_sets`.
# Makes: results/soft_labels/{set}/: the objects of a caption set; results/soft_labels/statistics.*.
#
# A folder is no input, as its time means nothing: the digest of its files is a param.

from countclip.experiments.soft_labels import settings as soft_labels


rule count_objects:
    input:
        captions=lambda wildcards: (
            listed(soft_labels.caption_file(config, wildcards.set))
            if settings.caption_set(config, wildcards.set)["path"]
            else settings.candidates(config)
        ),
    output:
        concrete="results/soft_labels/{set}/concrete.parquet",
        nouns="results/soft_labels/{set}/nouns.parquet",
        phrases="results/soft_labels/{set}/phrases.parquet",
        counts="results/soft_labels/{set}/counts.json",
    log:
        "logs/count_objects/{set}.log",
    benchmark:
        cost("count_objects/{set}")
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=1440,
    params:
        *code("count_objects", *settings.LEXICONS),
        lambda wildcards: digests(
            *listed(settings.caption_set(config, wildcards.set)["path"])
        ),
        spec=lambda wildcards: canonical(
            soft_labels.set_settings(config, wildcards.set)
        ),
    message:
        "count the objects of the caption set {wildcards.set}"
    script:
        "../scripts/count_objects.py"


rule make_object_statistics:
    input:
        counts=expand(
            "results/soft_labels/{set}/counts.json", set=settings.caption_sets(config)
        ),
        published=resource("resources/soft_labels_published.csv"),
    output:
        csv=report(
            "results/soft_labels/statistics.csv",
            category="Soft labels",
            labels={"format": "CSV"},
            caption="../report/object_statistics.rst",
        ),
        json="results/soft_labels/statistics.json",
        markdown="results/soft_labels/statistics.md",
    log:
        "logs/make_object_statistics.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_object_statistics", "resources/soft_labels_published.csv"),
        spec=canonical({"scale": config["scale"], "labels": soft_labels.labels(config)}),
    script:
        "../scripts/make_object_statistics.py"
