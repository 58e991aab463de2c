import re
import shlex

from snakemake.cli import get_argument_parser

from countclip.runtime.resources import HOME


def test_the_readme_is_finished_and_names_what_is_there():
    text = (HOME / "README.md").read_text(encoding="utf-8")
    assert "@@" not in text
    for module in (HOME / "workflow/scripts/countclip").glob("*.py"):
        if module.stem != "__init__":
            assert f"`{module.name}`" in text or module.stem in ("job", "files", "manual"), module
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for name in ("baseline", "no scheduler", "L_count+"):
        assert any(name in row for row in rows), f"the table of the demo lacks {name}"


def test_the_commands_of_the_readme_are_what_they_seem():
    """A target behind --configfile would be one more config."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (snakemake .*?)(?:  |$)", text, re.M)
    commands += re.findall(r"`(snakemake [^`]+)`", text)
    assert len(commands) > 8
    parser = get_argument_parser()
    for command in commands:
        given = parser.parse_args(shlex.split(command)[1:])
        assert all(str(file).endswith(".yaml") for file in given.configfile or ()), command
        assert all(target == "plan" or "/" in target for target in given.targets), command
