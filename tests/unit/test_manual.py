from countclip.manual import MANUAL, manual


def test_the_manual_of_the_config_is_that_of_the_schema():
    assert MANUAL.read_text(encoding="utf-8") == manual(), "run `make docs`"
