"""The results of a run, each registered once: its files, its rule, its section of the report.

Targets of `all`, the sections of the report and the plan follow from RESULTS. To add a result, add
an entry here and a rule; a new section is an entry of SECTIONS.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from countclip.settings import (
    benchmarks,
    counting_sets,
    experiments,
    retention,
    variants,
    zero_shot,
)
from countclip.settings.common import Config

TABLE, FIGURE = ("csv", "json", "md"), ("svg", "png")


@dataclass(frozen=True)
class Section:
    """A section of the report that holds tables and figures.

    folded: its tables are folded away under their titles.
    """

    id: str
    title: str
    introduction: str
    folded: bool = False


@dataclass(frozen=True)
class Result:
    """Files that one rule makes together, and the section of the report that shows them.

    path: without its ending; {id} stands for each of `ids`. kinds: the endings. ids: of the config,
    those that there is such a result for; by default there is one, without an id.
    """

    section: str
    rule: str
    path: str
    kinds: tuple[str, ...]
    ids: Callable[[Config], list[str]] = lambda config: [""]

    def files(self, config: Config) -> list[str]:
        """The files that a run with this config has."""
        pairs = product(self.ids(config), self.kinds)
        return [f"{self.path.replace('{id}', name)}.{kind}" for name, kind in pairs]

    def patterns(self) -> list[str]:
        """Patterns of its files, whatever the config."""
        return [f"{self.path.replace('{id}', '*')}.{kind}" for kind in self.kinds]


def _where(condition: Callable[[Config], object]) -> Callable[[Config], list[str]]:
    """One result where a config fulfils a condition, none elsewhere."""
    return lambda config: [""] if condition(config) else []


ON_COUNTBENCH = _where(benchmarks.has_countbench)
"""One result in a run that measures on CountBench."""

SECTIONS = (
    Section(
        "table1",
        "Table 1",
        "All models on the same images, at three checkpoints. End of training: no checkpoint is"
        " chosen. Selected: chosen on pairs held out of the counting set. Best on the benchmark:"
        " chosen on these same images, as in the paper, so its accuracy is optimistic.",
    ),
    Section(
        "paper",
        "The paper's results",
        "Which differences between the paper's own models are significant, computed from its"
        " confusion matrices. Table 1 shows the paper's accuracies beside ours.",
        folded=True,
    ),
    Section(
        "ablations",
        "Ablations",
        "Each variant against the reference, with the settings that it changes.",
    ),
    Section("benchmarks", "Further benchmarks", "The same models on other images."),
    Section(
        "zero_shot",
        "Other models, without training",
        "How well pretrained models count as they are, on the same images.",
    ),
    Section(
        "retention",
        "Retention",
        "Learning to count may cost what a model knew before. WiSE-FT interpolates between the"
        " weights of the pretrained baseline and of the fine-tuned model.",
    ),
    Section(
        "retrieval",
        "Retrieval and relevancy",
        "Images found by a caption with a number, and how much the number word matters to the"
        " model.",
    ),
    Section(
        "ordinal",
        "Ordinal regression",
        "An age, a decade or a quality told from an image: NumCLIP, its parts, and what is known"
        " without them, on the same folds.",
    ),
    Section(
        "soft_labels",
        "Soft labels",
        "Captions that name the same objects share a target (AlignCLIP's Object-IoU): what that"
        " does to a CLIP in pretraining. And which objects captions name, and how rare most are.",
    ),
    Section(
        "reading",
        "Reading",
        "Can CLIP read the text in an image? Questions are answered by similarity, after training"
        " with several kinds of batches, beside controls that look at no image.",
    ),
    Section(
        "funnel",
        "The counting set",
        "The pairs that models are trained on. Each step shows how many rows of the metadata it"
        " removed, and why.",
    ),
)
"""In the order of the report."""

RESULTS = (
    Result("table1", "make_table1", "results/table1", (*TABLE, "tex"), ON_COUNTBENCH),
    Result("table1", "make_table1", "results/table1_per_class", ("csv",), ON_COUNTBENCH),
    Result(
        "table1",
        "plot_confusion",
        "results/figures/confusion_{id}",
        FIGURE,
        lambda config: list(config["figures"]["confusion"] if ON_COUNTBENCH(config) else []),
    ),
    Result("table1", "plot_training_curves", "results/figures/training_curves", FIGURE),
    Result("paper", "make_paper", "results/paper", TABLE),
    Result(
        "ablations",
        "make_ablations",
        "results/ablations",
        TABLE,
        _where(lambda config: benchmarks.has_countbench(config) and variants.reference(config)),
    ),
    Result(
        "benchmarks",
        "make_benchmark_table",
        "results/benchmarks/{id}/table",
        TABLE,
        benchmarks.further,
    ),
    Result(
        "zero_shot",
        "make_zero_shot_table",
        "results/zero_shot/table",
        TABLE,
        _where(zero_shot.all_models),
    ),
    Result(
        "retention",
        "make_retention",
        "results/retention",
        TABLE,
        _where(retention.tasks),
    ),
    Result(
        "retention",
        "make_wise_ft",
        "results/wise_ft",
        ("csv", "json"),
        _where(retention.wise_ft_variants),
    ),
    Result(
        "retention",
        "plot_wise_ft",
        "results/figures/wise_ft",
        FIGURE,
        _where(retention.wise_ft_variants),
    ),
    Result("retrieval", "make_retrieval_table", "results/retrieval", TABLE, ON_COUNTBENCH),
    Result("retrieval", "plot_retrieval", "results/figures/retrieval", FIGURE, ON_COUNTBENCH),
    Result("retrieval", "plot_relevancy", "results/relevancy", ("csv", "json"), ON_COUNTBENCH),
    Result("retrieval", "plot_relevancy", "results/figures/relevancy", FIGURE, ON_COUNTBENCH),
    Result(
        "ordinal",
        "join_ordinal_tables",
        "results/ordinal/table",
        ("csv",),
        _where(experiments.ordinal_sets),
    ),
    Result(
        "ordinal",
        "make_ordinal_table",
        "results/ordinal/{id}/table",
        TABLE,
        experiments.ordinal_sets,
    ),
    Result(
        "ordinal",
        "make_ordinal_table",
        "results/ordinal/{id}/table_per_bin",
        ("csv",),
        experiments.ordinal_sets,
    ),
    Result(
        "ordinal",
        "plot_ordinal_errors",
        "results/figures/ordinal_errors_{id}",
        FIGURE,
        experiments.ordinal_sets,
    ),
    *(
        Result("ordinal", "plot_ordinal_order", path, kinds, experiments.embedded_sets)
        for path, kinds in (
            ("results/ordinal/{id}/order", ("csv",)),
            ("results/figures/ordinal_similarities_{id}", FIGURE),
            ("results/figures/ordinal_order_{id}", FIGURE),
            ("results/figures/ordinal_map_{id}", FIGURE),
        )
    ),
    Result(
        "ordinal",
        "measure_ordinal_cost",
        "results/ordinal/cost",
        TABLE,
        _where(lambda config: "cost" in config["ordinal"]["studies"]["made"]),
    ),
    Result(
        "ordinal",
        "make_ordinal_study",
        "results/ordinal/{id}",
        TABLE,
        experiments.ordinal_studies,
    ),
    Result(
        "ordinal",
        "plot_ordinal_study",
        "results/figures/ordinal_{id}",
        FIGURE,
        experiments.ordinal_studies,
    ),
    Result(
        "soft_labels",
        "make_soft_label_table",
        "results/soft_labels/table",
        TABLE,
        _where(experiments.pretraining_nets),
    ),
    Result(
        "soft_labels",
        "plot_soft_labels",
        "results/figures/soft_labels",
        FIGURE,
        _where(experiments.pretraining_nets),
    ),
    Result(
        "soft_labels",
        "make_domain_table",
        "results/soft_labels/domains",
        TABLE,
        _where(experiments.has_domains),
    ),
    Result(
        "soft_labels",
        "make_object_statistics",
        "results/soft_labels/statistics",
        TABLE,
        _where(experiments.caption_sets),
    ),
    *(
        Result("reading", rule, path, kinds, _where(is_made))
        for rule, path, kinds, is_made in (
            ("make_reading_table", "results/reading/table", TABLE, experiments.reading_is_made),
            ("make_reading_words", "results/reading/words", TABLE, experiments.reading_words),
            (
                "plot_reading_words",
                "results/figures/reading_words",
                FIGURE,
                experiments.reading_words,
            ),
            ("make_reading_crops", "results/reading/crops", TABLE, experiments.reading_crops),
            (
                "plot_reading_panels",
                "results/figures/reading_panels",
                FIGURE,
                experiments.reading_is_made,
            ),
            ("make_reading_counts", "results/reading/overlap", TABLE, experiments.reading_is_made),
            (
                "make_reading_counts",
                "results/reading/counts",
                ("csv",),
                experiments.reading_is_made,
            ),
            (
                "plot_reading_counts",
                "results/figures/reading_questions",
                FIGURE,
                experiments.reading_is_made,
            ),
            (
                "plot_reading_counts",
                "results/figures/reading_answers",
                FIGURE,
                experiments.reading_is_made,
            ),
        )
    ),  # fmt: skip
    Result(
        "soft_labels",
        "plot_object_ranks",
        "results/figures/object_ranks_{id}",
        FIGURE,
        experiments.caption_sets,
    ),
    Result("reading", "make_reading_published", "results/reading/published", TABLE),
    Result(
        "funnel",
        "plot_class_frequency",
        "results/figures/class_frequency_{id}",
        FIGURE,
        counting_sets.trained_on,
    ),
    Result(
        "funnel",
        "plot_lambdas",
        "results/figures/lambdas_{id}",
        FIGURE,
        counting_sets.trained_on,
    ),
    Result(
        "funnel",
        "make_composed_check",
        "results/composed/check",
        TABLE,
        _where(counting_sets.composed),
    ),
    Result(
        "funnel",
        "draw_composed",
        "results/figures/composed",
        FIGURE,
        _where(counting_sets.composed),
    ),
)
"""In the order of the report: each figure after the table that it belongs to."""


def targets(config: Config) -> list[str]:
    """Every file of RESULTS that a run with this config has."""
    return [file for result in RESULTS for file in result.files(config)]


def section_of(path: str) -> str:
    """Id of the section that shows a file, wherever `results` lies; ValueError for none."""
    return _registered(path)[0].section


def id_of(path: str) -> str:
    """What stands for {id} in a file's path; empty for a result without an id."""
    return _registered(path)[1]


def place_of(path: str) -> int:
    """Place of a file's result in RESULTS."""
    return RESULTS.index(_registered(path)[0])


def _registered(path: str) -> tuple[Result, str]:
    """The result that a file belongs to, and its id."""
    for result in RESULTS:
        before, _, after = map(re.escape, result.path.partition("{id}"))
        name = "([^/]+)" if "{id}" in result.path else "()"
        pattern = rf"(?:.*/)?{before}{name}{after}\.(?:{'|'.join(result.kinds)})"
        if found := re.fullmatch(pattern, path):
            return result, found[1]
    raise ValueError(f"no section shows {path}: register it in settings/results.py")


def patterns_of(section: str) -> list[str]:
    """Short patterns of the files that a section may show."""
    return [f"{r.path.replace('{id}', '*')}.*" for r in RESULTS if r.section == section]
