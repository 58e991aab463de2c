# Objects of captions, for soft labels: which there are, and how rare most of them are.
#
# Needs: the candidates of data.smk, or files of the config's `soft_labels.caption_sets`.
# Makes: results/soft_labels/{set}/: the objects of a caption set; results/soft_labels/statistics.*;
# results/figures/object_ranks_{set}.*.
#
# A folder is no input, as its time means nothing: the digest of its files is a param.

from countclip.experiments.soft_labels import settings as soft_labels


rule count_objects:
    input:
        captions=lambda wildcards: soft_labels.captions(config, wildcards.set),
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


# Optional: soft_labels.llm. Where the model is, and how hard to try, reruns nothing.
rule ask_objects:
    input:
        captions=lambda wildcards: soft_labels.captions(config, wildcards.set),
    output:
        objects="results/soft_labels/{set}/llm.parquet",
        captions="results/soft_labels/{set}/llm_captions.parquet",
        counts="results/soft_labels/{set}/llm.json",
    log:
        "logs/ask_objects/{set}.log",
    benchmark:
        cost("ask_objects/{set}")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=1440,
    params:
        *code("ask_objects", *settings.LEXICONS),
        lambda wildcards: digests(
            *listed(settings.caption_set(config, wildcards.set)["path"])
        ),
        spec=lambda wildcards: canonical(
            soft_labels.llm_settings(config, wildcards.set)
        ),
        endpoint=lambda wildcards, resources: soft_labels.endpoint(config),
        answers=lambda wildcards, resources: prefixed("results/soft_labels/answers"),
    message:
        "ask a language model about the captions of {wildcards.set}"
    script:
        "../scripts/ask_objects.py"


rule make_object_statistics:
    input:
        counts=expand(
            "results/soft_labels/{set}/counts.json", set=settings.caption_sets(config)
        ),
        llm=expand("results/soft_labels/{set}/llm.json", set=settings.llm_sets(config)),
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
        spec=canonical(
            {
                "scale": config["scale"],
                "labels": soft_labels.labels(config),
                "llm": settings.llm_sets(config),
            }
        ),
    script:
        "../scripts/make_object_statistics.py"


rule plot_object_ranks:
    input:
        lambda wildcards: expand(
            "results/soft_labels/{{set}}/{unit}.parquet",
            unit=soft_labels.units(config, wildcards.set),
        ),
    output:
        svg=report(
            "results/figures/object_ranks_{set}.svg",
            category="Soft labels",
            labels={"figure": "objects by rank", "set": "{set}"},
            caption="../report/object_ranks.rst",
        ),
        png="results/figures/object_ranks_{set}.png",
    log:
        "logs/plot_object_ranks/{set}.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("plot_object_ranks"),
        spec=lambda wildcards: canonical(
            {
                "scale": config["scale"],
                "label": soft_labels.labels(config)[wildcards.set],
                "units": soft_labels.units(config, wildcards.set),
            }
        ),
    script:
        "../scripts/plot_object_ranks.py"
