"""The results of a run, each registered once: its files, its rule, its section of the report.

Targets of `all`, the sections of the report and the plan follow from RESULTS. To add a result, add
an entry here and a rule; a new section is an entry of SECTIONS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from countclip.runtime import config as settings
from countclip.runtime.config import Config

TABLE, FIGURE = ("csv", "json", "md"), ("svg", "png")


@dataclass(frozen=True)
class Section:
    """A section of the report that holds tables and figures."""

    id: str
    title: str
    introduction: str


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


SECTIONS = (
    Section(
        "table1",
        "Table 1",
        "Each variant and the pretrained baseline on the same images. The end of training involves"
        " no choice; the selected checkpoint is chosen on pairs held out of the counting set; the"
        " best on the benchmark, the paper's protocol, on the same images that it is measured on.",
    ),
    Section(
        "paper",
        "The paper's results",
        "Table 1 shows them beside ours. Here is what follows from the paper's confusion matrices:"
        " which of its differences are significant.",
    ),
    Section(
        "ablations",
        "Ablations",
        "Each variant against the reference, with the settings that it changes.",
    ),
    Section("benchmarks", "Further benchmarks", "The same models on other images."),
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
    Section("figures", "Figures", "Each also lies beside the page, as SVG and as PNG."),
)
"""In the order of the report."""

RESULTS = (
    Result("table1", "make_table1", "results/table1", (*TABLE, "tex")),
    Result("table1", "make_table1", "results/table1_per_class", ("csv",)),
    Result("paper", "make_paper", "results/paper", TABLE),
    Result("ablations", "make_ablations", "results/ablations", TABLE, _where(settings.reference)),
    Result(
        "benchmarks",
        "make_benchmark_table",
        "results/benchmarks/{id}/table",
        TABLE,
        settings.further_benchmarks,
    ),
    Result(
        "retention",
        "make_retention",
        "results/retention",
        TABLE,
        _where(settings.retention_tasks),
    ),
    Result(
        "retention",
        "make_wise_ft",
        "results/wise_ft",
        ("csv", "json"),
        _where(settings.wise_ft_variants),
    ),
    Result(
        "retention",
        "plot_wise_ft",
        "results/figures/wise_ft",
        FIGURE,
        _where(settings.wise_ft_variants),
    ),
    Result("retrieval", "make_retrieval_table", "results/retrieval", TABLE),
    Result("retrieval", "plot_retrieval", "results/figures/retrieval", FIGURE),
    Result("retrieval", "plot_relevancy", "results/relevancy", ("csv", "json")),
    Result("retrieval", "plot_relevancy", "results/figures/relevancy", FIGURE),
    Result(
        "figures",
        "plot_class_frequency",
        "results/figures/class_frequency_{id}",
        FIGURE,
        settings.counting_sets,
    ),
    Result(
        "figures",
        "plot_lambdas",
        "results/figures/lambdas_{id}",
        FIGURE,
        settings.counting_sets,
    ),
    Result("figures", "plot_training_curves", "results/figures/training_curves", FIGURE),
    Result(
        "figures",
        "plot_confusion",
        "results/figures/confusion_{id}",
        FIGURE,
        lambda config: list(config["figures"]["confusion"]),
    ),
)


def targets(config: Config) -> list[str]:
    """Every file of RESULTS that a run with this config has."""
    return [file for result in RESULTS for file in result.files(config)]


def section_of(path: str) -> str:
    """Id of the section that shows a file, wherever `results` lies; ValueError for none."""
    for result in RESULTS:
        if any(Path(path).match(pattern) for pattern in result.patterns()):
            return result.section
    raise ValueError(f"no section shows {path}: register it in runtime/results.py")


def patterns_of(section: str) -> list[str]:
    """Short patterns of the files that a section may show."""
    return [f"{r.path.replace('{id}', '*')}.*" for r in RESULTS if r.section == section]
