import re

from countclip.settings.config_docs import MANUAL, manual


def test_the_manual_of_the_config_is_that_of_the_schema():
    assert MANUAL.read_text(encoding="utf-8") == manual(), "run `make docs`"


def test_no_name_of_the_manual_is_taken_for_html():
    text = re.sub(r"`[^`]*`", "", MANUAL.read_text(encoding="utf-8"))
    assert re.findall(r"<\w+>", text) == []
