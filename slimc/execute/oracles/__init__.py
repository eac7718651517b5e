"""Oracles: runtimes, asked in a process of their own how they run a model file.

`ask.py` asks; `child.py` is the process. The other modules are one oracle each. They and `child.py`
import nothing of slimc: any interpreter that has the runtime's package can run them.
"""
