from __future__ import annotations

import json
import math
from dataclasses import replace

from slimc.remarks import Agreement, GraphSize, Latency, PassReport, Report, applied, note, skipped
from slimc.report.json import report_dict, report_json
from slimc.report.text import format_bytes, format_count, pass_summary, report_text

REPORT = Report(
    recipe="prune{ratio=0.3},quant",
    target="jetson",
    versions={"slimc": "0.1.0"},
    digests={"input": "aa", "data": "bb", "output": "cc"},
    before=GraphSize(1_080_000, 272_474, 40_813_184, 80),
    after=GraphSize(280_000, 190_000, 28_000_000, 61),
    passes=(
        PassReport(
            "fold-batch-norm",
            0.125,
            True,
            (
                applied("bn1", "folded into 'conv1'"),
                applied("bn2", "folded into 'conv2'"),
                skipped("bn3", "'conv3' has other users"),
                skipped("bn4", "'conv4' has other users"),
                skipped("bn5", "it updates its statistics"),
            ),
        ),
        PassReport("quantize", 1.0, True, (note("37 scales"),), {"worst": math.inf, "n": (1, 2)}),
        PassReport("tidy", 0.0, False),
    ),
    agreement=(
        Agreement("logits", 31.234, 0.0123, 0.98),
        Agreement("boxes", math.inf, 0.0, None),
    ),
    integer_intended=20,
    integer_achieved=19,
    notes=(note("samples are made up", help="give samples with --calib"),),
    integer_float=("head/fc",),
)


def test_the_summary_reads_like_this() -> None:
    assert report_text(REPORT).splitlines() == [
        "note: samples are made up (give samples with --calib)",
        "recipe: prune{ratio=0.3},quant   target: jetson",
        "",
        "  fold-batch-norm     0.12 s  2 applied; 3 skipped (... has other users: 2; "
        "it updates its statistics: 1)",
        "  quantize            1.00 s  37 scales",
        "  tidy                0.00 s  nothing to do",
        "",
        "               before   after   change",
        "  size        1.08 MB  280 kB  -74.1 %",
        "  parameters    272 k   190 k  -30.3 %",
        "  MACs         40.8 M    28 M  -31.4 %",
        "  nodes            80      61  -23.8 %",
        "",
        "  output     SQNR  max error  same top-1",
        "  logits  31.2 dB      0.012      98.0 %",
        "  boxes     equal          0           -",
        "",
        "integer layers: 19 of 20 intended, among 21 contractions",
    ]


def test_latency_is_a_table_where_it_was_measured() -> None:
    rows = (
        Latency(1, 4, 90, 0.0022, 0.0016, 1.372, 1.355, 1.386),
        Latency(0, 4, 30, 0.0012, 0.0009, 1.33, 0.9, 2),
    )
    report = replace(REPORT, latency=rows)
    lines = report_text(report).splitlines()
    assert lines[13:16] == [
        "  latency, 4 samples  before   after        times as fast",
        "  one thread          2.2 ms  1.6 ms  1.37 (1.35 to 1.39)",
        "  all threads         1.2 ms  0.9 ms      1.33 (0.9 to 2)",
    ]
    assert report_dict(report)["latency"][0]["ratio"] == 1.372
    assert "latency" not in report_dict(report, times=False)


def test_a_long_text_of_a_pass_does_not_move_the_others() -> None:
    long = PassReport(f"remove-channels{{give_back=[{'x' * 80}]}}", 1.0, True)
    lines = report_text(replace(REPORT, passes=(*REPORT.passes, long))).splitlines()
    assert lines[3].startswith("  fold-batch-norm     0.12 s")
    assert lines[6].startswith(f"  {long.text}     1.00 s")


def test_what_cannot_be_counted_here_names_the_command_that_does() -> None:
    unknown = replace(REPORT, integer_achieved=None)
    counted = "integer layers: 20 intended, among 21 contractions"
    assert report_text(unknown).splitlines()[-1] == counted
    asked = replace(unknown, integer_oracle="tensorrt-rtx:SM86")
    assert report_text(asked).splitlines()[-1] == (
        f"{counted}; to count them: slimc verify FILE --target jetson"
    )


def test_details_add_every_remark() -> None:
    text = report_text(REPORT, details=True)
    assert "      skipped @bn5: it updates its statistics\n" in text
    assert text.count("applied @") == 2


def test_json_holds_all_keys_and_only_finite_numbers() -> None:
    found = json.loads(report_json(REPORT))
    assert list(found) == [
        "recipe", "target", "versions", "digests", "notes", "before", "after", "passes",
        "agreement", "integer_layers", "indices", "latency", "seconds",
    ]  # fmt: skip
    assert found["before"] == {
        "bytes": 1080000, "parameters": 272474, "macs": 40813184, "nodes": 80,
    }  # fmt: skip
    assert found["passes"][0]["remarks"][2] == {
        "kind": "skipped",
        "node": "bn3",
        "message": "'conv3' has other users",
    }
    assert found["passes"][1]["facts"] == {"worst": None, "n": [1, 2]}
    assert found["agreement"][1]["sqnr_db"] is None
    assert found["integer_layers"] == {"intended": 20, "achieved": 19, "float": ["head/fc"]}
    assert found["seconds"] == 1.125


def test_without_times_nothing_depends_on_the_clock() -> None:
    found = report_dict(REPORT, times=False)
    assert "seconds" not in found
    assert all("seconds" not in one for one in found["passes"])


def test_numbers_for_people() -> None:
    numbers = (0, 999, 1000, 999_499, 999_999, 4_190_000, 11_200_000_000)
    assert [format_count(n) for n in numbers] == [
        "0", "999", "1 k", "999 k", "1 M", "4.19 M", "11.2 G",
    ]  # fmt: skip
    assert [format_bytes(n) for n in (812, 1_080_000)] == ["812 B", "1.08 MB"]


def test_a_pass_without_remarks_says_whether_it_changed_anything() -> None:
    assert pass_summary(PassReport("a", 0, True)) == "changed"
    assert pass_summary(PassReport("a", 0, False)) == "nothing to do"


def test_notes_that_the_summary_leaves_out_are_counted() -> None:
    said = (note("build it so"), note("sizes are open"), note("channels are padded"))
    report = replace(REPORT, passes=(PassReport("legalize", 0, False, said),))
    assert "build it so; 2 more notes (--details)\n" in report_text(report)
    assert "more notes" not in report_text(report, details=True)


def test_a_removal_says_what_it_saves_and_a_repair_how_far_off_layers_are() -> None:
    facts = {
        "families": [{"width": 8, "kept": 4}, {"width": 8, "kept": 8}],
        "macs": [1000, 700],
        "parameters": [50, 40],
    }
    said = (applied("a", "width 8 -> 4"), skipped("b", "whole: the macs budget chose others"))
    assert pass_summary(PassReport("remove-channels", 0, True, said, facts)) == (
        "1 prune group narrowed: MACs -30.0 %, parameters -20.0 %; "
        "1 skipped (whole: the macs budget chose others)"
    )
    errors = ((0.2, 0.1), (0.4, 0.02), (0.3, 0.3))
    facts = {
        "layers": [{"error_before": before, "error_after": after} for before, after in errors],
        "samples": 256,
    }
    assert pass_summary(PassReport("repair-weights", 0, True, (), facts)) == (
        "2 of 3 layers refitted on 256 samples, median squared error 30 % -> 6 %"
    )


def test_a_removal_of_nothing_and_a_repair_of_nothing_give_reasons_alone() -> None:
    facts = {"families": [{"width": 8, "kept": 8}]}
    said = (note("no channel may leave; the reasons follow"),)
    assert pass_summary(PassReport("remove-channels", 0, False, said, facts)) == said[0].message
    facts = {"layers": [{"error_before": 0.2, "error_after": 0.2}], "samples": 9}
    left = (skipped("a", "as it is"),)
    found = pass_summary(PassReport("repair-weights", 0, False, left, facts))
    assert found == "1 skipped (as it is)"


def test_layers_that_were_fitted_in_vain_are_not_counted() -> None:
    facts = {"layers": [{"error_before": 0.2, "error_after": 0.1}], "samples": 9}
    said = (note("all stays as it is: outputs would be 0.22 dB further off"),)
    assert pass_summary(PassReport("round-weights", 0, False, said, facts)) == said[0].message
