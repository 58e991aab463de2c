# Can CLIP read?
#
# Needs: nothing.
# Makes: results/reading/published.csv, the published accuracies as counts of questions.


rule make_reading_published:
    input:
        published=resource("resources/reading_published.csv"),
    output:
        csv=report(
            "results/reading/published.csv",
            category="Reading",
            labels={"table": "published"},
            caption="../report/reading_published.rst",
        ),
        json="results/reading/published.json",
        markdown="results/reading/published.md",
    log:
        "logs/make_reading_published.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    params:
        *code("make_reading_published"),
        spec=spec(),
    script:
        "../scripts/make_reading_published.py"
