"""How many threads numpy computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def one_blas_thread() -> AbstractContextManager[object]:
    """Let products and solves of numpy and scipy run in one thread within the context.

    Their sums then do not depend on the number of cores, and results are the same bytes on each.
    It is faster, too: the many small solves of repair gain nothing from threads, and threads that
    wait spin against those of onnxruntime (10 times as slow on two busy cores).
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
