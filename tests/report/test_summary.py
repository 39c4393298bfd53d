"""The terminal table shows a newcomer the whole run, in eighty columns and with the page's numbers."""

from __future__ import annotations

from counteranimal.conservation import Conservation
from counteranimal.report.context import ReportContext
from counteranimal.report.summary import summary_text


def test_the_summary_shows_flow_votes_groups_and_models(context: ReportContext) -> None:
    """Candidates, kept, reasons, votes, alpha, groups and each model's three figures are all there."""
    text = summary_text(context)
    for words in (
        "candidates            48", "kept                36", "E_LICENSE 3", "simulated raters", "0.86", "common group",
        "efficientnet-lite0", "86.0", "77.8 to 94.2", "15.0", "◆ stand-in (not CLIP)", "◇ efficientnet-lite2",
    ):  # fmt: skip
        assert words in text


def test_the_summary_fits_eighty_columns(context: ReportContext) -> None:
    """Nothing is cut off in the narrowest terminal that people use."""
    text = summary_text(context)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_a_run_without_models_says_so() -> None:
    """Before an evaluation the table ends with a sentence, not with an empty table."""
    text = summary_text(ReportContext(title="Nothing yet", conservation=Conservation(0, {})))
    assert "No model has been evaluated yet" in text
