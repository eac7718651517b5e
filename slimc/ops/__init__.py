"""The operator table: one row per operator, one file per group of operators."""

from __future__ import annotations

from slimc.ops.attention import ATTENTION
from slimc.ops.contraction import CONTRACTION
from slimc.ops.control import CONTROL
from slimc.ops.convolution import CONVOLUTION
from slimc.ops.elementwise import ELEMENTWISE
from slimc.ops.gather import GATHER
from slimc.ops.join import JOIN
from slimc.ops.layout import LAYOUT
from slimc.ops.norm import NORM
from slimc.ops.pool import POOL
from slimc.ops.qdq import QDQ
from slimc.ops.recurrent import RECURRENT
from slimc.ops.reduce import REDUCE
from slimc.ops.resample import RESAMPLE
from slimc.ops.sequence import SEQUENCE
from slimc.ops.signal import SIGNAL
from slimc.ops.softmax import SOFTMAX
from slimc.ops.source import SOURCE

OPS = (
    ELEMENTWISE
    | REDUCE
    | CONTRACTION
    | CONVOLUTION
    | ATTENTION
    | RECURRENT
    | POOL
    | NORM
    | SOFTMAX
    | LAYOUT
    | JOIN
    | GATHER
    | RESAMPLE
    | SIGNAL
    | SOURCE
    | QDQ
    | SEQUENCE
    | CONTROL
)
