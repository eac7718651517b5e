from __future__ import annotations

from slimc.remarks import applied, note, skipped


def test_remarks_read_as_sentences() -> None:
    assert str(applied("bn", "folded into @conv")) == "applied @bn: folded into @conv"
    assert str(note("nothing changed")) == "note: nothing changed"
    text = str(skipped("bn", "it updates its statistics", help="export in eval mode"))
    assert text == "skipped @bn: it updates its statistics (export in eval mode)"
