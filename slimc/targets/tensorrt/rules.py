"""Rules for TensorRT: what its parser refuses, and what it silently runs in float.

Which of them hold is read from the target: its release, its compute capability, whether types in
the file are final.
"""

from __future__ import annotations

from slimc.targets.rules.common import COMMON
from slimc.targets.rules.qdq import CONSTANT_SCALES, PARAMETERS
from slimc.targets.rules.sparsity import SPARSE_KERNELS
from slimc.targets.tensorrt.rules_branches import BRANCHES
from slimc.targets.tensorrt.rules_build import BUILD
from slimc.targets.tensorrt.rules_operators import OPERATORS
from slimc.targets.tensorrt.rules_placement import ALIGNED, FOLDED, PLACEMENT_RULES
from slimc.targets.tensorrt.rules_types import NO_INTEGERS, ONE_FLOAT_TYPE, TYPES

_NODES = (*OPERATORS, *BRANCHES, ONE_FLOAT_TYPE)
_QDQ = (*PARAMETERS, CONSTANT_SCALES, *TYPES, *PLACEMENT_RULES)
_ADVICE = (FOLDED, ALIGNED)

# GPUs with integers.
INTEGERS = (*BUILD, *COMMON, *_QDQ, *_NODES, SPARSE_KERNELS, *_ADVICE)
# GPUs without integers.
FLOAT_ONLY = (*BUILD, *COMMON, NO_INTEGERS, *_NODES, *_ADVICE)
