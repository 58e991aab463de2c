from countclip.files import HOME


def test_the_readme_is_finished_and_names_what_is_there():
    text = (HOME / "README.md").read_text(encoding="utf-8")
    assert "@@" not in text
    for module in (HOME / "workflow/scripts/countclip").glob("*.py"):
        if module.stem != "__init__":
            assert f"`{module.name}`" in text or module.stem in ("job", "files", "manual"), module
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for name in ("baseline", "no scheduler", "L_count+"):
        assert any(name in row for row in rows), f"the table of the demo lacks {name}"
