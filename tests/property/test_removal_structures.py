"""Every structure loses channels, and equals itself with those masked; or says why it does not."""

from __future__ import annotations

import pytest
import structures as s
from cutting import assert_runs, assert_same, cut

FLAT = s.between_convolutions

EXACT = {
    "lstm": (s.recurrent("LSTM", 4), {"layer": 4}),
    "gru": (s.recurrent("GRU", 3), {"layer": 4}),
    "gru_reset_after": (s.recurrent("GRU", 3, attrs=", linear_before_reset=1"), {"layer": 4}),
    "rnn": (s.recurrent("RNN", 1), {"layer": 4}),
    "lstm_both_ways": (
        s.recurrent("LSTM", 4, 2, ', direction="bidirectional"'), {"layer": 4}),
    "lstm_states": (s.LSTM_STATES, {"layer": 4}),
    "recurrent_stack": (s.TWO_LAYERS, {"first": 4, "second": 2}),
    "prelu_per_channel": (FLAT("  %m = PRelu(%a, %s) @act", constants=s.PRELU), {"a": 4}),
    "cast_like_what_leaves": (
        FLAT("  %c = CastLike(%k, %a) @like\n  %m = Mul(%a, %c) @scale",
             constants="  %k = constant i64[] 2"), {"a": 4}),
    "expanded_to_its_shape": (
        s.between_products(
            "  %s = Shape(%a) @shape\n  %e = Expand(%k, %s) @spread\n  %m = Mul(%a, %e) @scale",
            "  %k = constant f32[1,1,1] [0.5]"), {"a": 4}),
    "prelu_one_slope": (
        FLAT("  %m = PRelu(%a, %s) @act", constants="  %s = constant f32[1] [0.2]"), {"a": 4}),
    "conv_transpose": (s.transposed(1, 6), {"a": 4, "up": 3}),
    "conv_transpose_grouped": (s.transposed(2, 6), {"a": 2, "up": 3}),
    "conv_transpose_depthwise": (s.transposed(8, 1), {"a": 4}),
    "depth_to_space": (
        FLAT('  %m = DepthToSpace(%a) {blocksize=2, mode="DCR"} @up', 16, 4), {"a": 2}),
    "depth_to_space_crd": (
        FLAT('  %m = DepthToSpace(%a) {blocksize=2, mode="CRD"} @up', 16, 4), {"a": 2}),
    "space_to_depth": (FLAT("  %m = SpaceToDepth(%a) {blocksize=2} @down", 8, 32), {"a": 4}),
    "gather_permutation": (s.gathered([3, 1, 0, 2, 7, 5, 6, 4]), {"a": 4}),
    "gather_some": (s.gathered([6, 1, 4, 3]), {"a": 2, "a#2": 2}),
    "gather_repeated": (s.gathered([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]), {"a": 2, "a#2": 2}),
    "gather_from_the_end": (s.gathered([-1, -2, -3, -4, 0, 1, 2, 3]), {"a": 4}),
    "embedding": (s.EMBEDDING, {"embed": 4}),
    "embedding_tied": (s.TIED_EMBEDDING, {"mix": 4}),
    "split_slice_concat": (s.SPLIT_SLICE_CONCAT, None),
    "cross_stage": (s.CROSS_STAGE, {"a": 2, "a#2": 2, "c": 3}),
    "einsum": (s.EINSUM, {"q": 1, "q#2": 2}),
    "attention_fused": (s.ATTENTION, {"q": 2, "v": 3}),
    "runtime_attention_heads": (s.MULTI_HEAD, {"q": 2}),
    "runtime_attention_width": (
        s.MULTI_HEAD.replace("[6,16] random(0)", "[6,32] random(0)").replace(
            "[6,16] random(1)", "[6,32] random(1)").replace("[48]", "[80]"), {"q": 4, "v": 2}),
    "matmul_left_weights": (s.LEFT_WEIGHTS, {"first": 4}),
    "matmul_vectors": (s.VECTORS, {"first": 4}),
    "matmul_batched_weights": (s.BATCHED_WEIGHTS, {"first": 4}),
    "weights_shared": (s.SHARED, {"in": 4}),
    "several_outputs": (s.OUTPUTS, {"a": 4, "b": 4}),
    "group_norm": (
        FLAT("  %m = GroupNormalization(%a, %g, %g) {num_groups=2} @norm",
             constants="  %g = constant f32[8] random(3)"), {"a": 1}),
    "squeeze_excite": (s.SQUEEZE_EXCITE, {"a": 4, "narrow": 2}),
    **{
        f"gemm_{'weight' if first else 'data'}_first_{ta}{tb}": (
            s.gemms(first, ta, tb), {"first": 4})
        for first in (False, True) for ta in (0, 1) for tb in (0, 1)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_what_leaves_a_structure_is_as_if_it_were_masked(name: str) -> None:
    text, lost = EXACT[name]
    for seed in range(3):
        made = cut(text, seed=seed)
        assert made.lost
        assert lost is None or made.lost == lost
        assert_same(made)


APPROXIMATE = {
    "layer_norm": s.between_products(
        "  %m = LayerNormalization(%a, %g, %b) {axis=-1} @norm",
        "  %g = constant f32[8] random(2)\n  %b = constant f32[8] random(3)",
    ),
    "rms_norm": s.between_products(
        "  %m = RMSNormalization(%a, %g) {axis=-1} @norm", "  %g = constant f32[8] random(2)"
    ),
    "mean_over_channels": s.between_products(
        "  %u = ReduceMean(%a, %k) {keepdims=1} @mean\n  %m = Sub(%a, %u) @centre",
        "  %k = constant i64[1] [2]",
    ),
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_statistics_over_channels_make_removal_approximate(name: str) -> None:
    made = cut(APPROXIMATE[name], ratio=0.25)
    assert made.lost == {"a": 2}
    assert_runs(made)


def test_an_instance_norm_has_statistics_of_each_channel() -> None:
    text = FLAT(
        "  %m = InstanceNormalization(%a, %g, %g) @norm",
        constants="  %g = constant f32[8] random(3)",
    )
    made = cut(text)
    assert made.lost == {"a": 4}
    assert_same(made)


NEEDS = "which needs every index of it"

PINNED = {
    "lrn": (FLAT("  %m = LRN(%a) {size=3} @lrn"), f"'lrn' (LRN), {NEEDS}"),
    "softmax": (s.between_products("  %m = Softmax(%a) {axis=-1} @soft"), f"(Softmax), {NEEDS}"),
    "running_sum": (
        s.between_products("  %m = CumSum(%a, %k) @sum", "  %k = constant i64[] 2"),
        f"'sum' (CumSum), {NEEDS}",
    ),
    "top_k": (
        s.between_products(
            "  %m, %i = TopK(%a, %k) {axis=-1} @top", "  %k = constant i64[1] [3]", 3),
        f"'top' (TopK), {NEEDS}",
    ),
    "one_index": (
        s.between_products("  %m = Gather(%a, %k) {axis=1} @pick\n  %z = Gather(%m, %k) @no",
                           "  %k = constant i64[] 0").replace("-> (%y)", "-> (%y, %m)"),
        "graph output 'm'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PINNED)
def test_what_is_pinned_says_by_what(name: str) -> None:
    text, reason = PINNED[name]
    made = cut(text)
    assert made.lost == {}
    assert reason in made.why_pinned("a")
