# The embedded world, and the small models that were trained on it once.


rule make_world:
    output:
        world="results/miniature/world.parquet",
        parts=expand(
            "results/miniature/laion/part-{part:05}.parquet",
            part=range(config["miniature"]["parts"]),
        ),
        manifest="results/miniature/laion.tsv",
        countbench="results/miniature/countbench.json",
    log:
        "logs/make_world.log",
    params:
        spec=spec("miniature"),
        code=code("make_world"),
    threads: 1
    script:
        "../scripts/make_world.py"
