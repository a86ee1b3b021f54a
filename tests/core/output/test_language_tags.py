from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.output.language_tags import MAX_LANGUAGES, LanguageTags, is_same_language


@pytest.mark.parametrize(
    ("tags", "requested", "spelled"),
    [
        (["en", "en-US", "en"], "", ["en", "en", "en"]),
        (["en-US", "en", "en_us"], "", ["en-US", "en-US", "en-US"]),
        (["en-US", "es", "en"], "", ["en-US", "es", "en-US"]),
        (["en-US", "en-GB", "en"], "", ["en-US", "en-GB", "en-US"]),
        (["en", "en-US"], "en-GB", ["en-GB", "en-US"]),
        (["zh-Hans-CN", "zh-Hans", "zh-Hant"], "", ["zh-Hans-CN", "zh-Hans-CN", "zh-Hant"]),
        (["", "en", ""], "", ["", "en", ""]),
    ],
)
def test_a_stream_keeps_its_spelling(tags: list[str], requested: str, spelled: list[str]) -> None:
    """A tag that is only more or less exact is replaced; another region or script is not."""
    names = LanguageTags()
    assert [names.spelled(tag, requested) for tag in tags] == spelled


@given(st.lists(st.sampled_from(["en", "en-US", "en-GB", "pt", "pt-BR", "pt-PT", "multi", ""])))
def test_no_language_becomes_another(tags: list[str]) -> None:
    """Whatever comes before, the spelling is the same language, and stays itself."""
    names = LanguageTags()
    for tag in tags:
        spelled = names.spelled(tag)
        assert spelled == tag or is_same_language(spelled, tag)
        assert names.spelled(tag) == spelled


def test_languages_are_bounded() -> None:
    """A provider that reports nonsense does not fill the memory."""
    names = LanguageTags()
    for number in range(2 * MAX_LANGUAGES):
        names.spelled(f"x{number}")
    assert len(names._first) == MAX_LANGUAGES
    assert "x0" in repr(names)
