"""Rules, and the engine that applies them.

A rule is a pattern and a function from a match to what stands in its place. The engine keeps what
no rule has to think of: nodes that others use stay; nothing is overwritten; replaced values keep
their type, graph outputs their names; names are unique; new nodes know their origin; bodies of If,
Loop and Scan are rewritten too; it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from slimc.errors import SlimcError, did_you_mean
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, collect_names
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, skipped
from slimc.rewrite.match import Made, Match, NotConstantError, Skip
from slimc.rewrite.pattern import Apply, Found, depth, matches, parse_pattern
from slimc.rewrite.replace_match import as_node, is_there, replace_match, values_read
from slimc.rewrite.result import PassResult
from slimc.rewrite.scope import EditedScope, agree, rewrite_bodies

__all__ = ["Made", "Match", "Rule", "Skip", "names_matching", "rewrite"]

_PER_NODE = 20  # applications per node of the graph before rules count as undoing each other

Answer = Made | np.ndarray | str | Skip | None


@dataclass(frozen=True)
class Rule:
    """A pattern, and what stands in place of a match.

    make: match -> a new node, a constant, the value that serves instead, Skip (with the reason), or
        None (this is no match after all). says: what the remark says.
    """

    pattern: str
    make: Callable[[Match], Answer]
    says: str = ""


def rewrite(
    graph: Graph, rules: Sequence[Rule], *, ops: OpTable, made_by: str, keep: Sequence[str] = ()
) -> PassResult:
    """Apply rules until none matches any more.

    ops: types of new values follow from it. made_by: the pass, origin of new nodes. keep: names of
    nodes to leave alone (with * and ?). Rules are tried in order at every node, in the order of the
    nodes; where one was applied, what may have become a match is looked at again.
    Raises SlimcError "unknown-node" (keep), "bad-rule" or "rules-do-not-end".
    """
    kept = names_matching(graph, keep, f"option keep of pass {made_by}")
    work = _Rewriting(graph, rules, ops, made_by, frozenset(kept))
    after = work.rewritten(graph, None)
    alive = {node.name for node in after.walk()}
    return PassResult(after, (*work.said, *(r for r in work.left.values() if r.node in alive)))


def names_matching(graph: Graph, patterns: Sequence[str], where: str) -> list[str]:
    """Return the names of nodes that match a pattern. Raises SlimcError "unknown-node"."""
    names = [node.name for node in graph.walk()] if patterns else []
    found: list[str] = []
    for pattern in patterns:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            help = did_you_mean(pattern, names)
            raise SlimcError("unknown-node", f"no node is named '{pattern}'", where, help)
        found += matched
    return found


class _Rewriting:
    """One run of `rewrite`: rules by the operator of their root, and what was said."""

    def __init__(
        self,
        graph: Graph,
        rules: Sequence[Rule],
        ops: OpTable,
        made_by: str,
        kept: frozenset[str],
    ) -> None:
        self.ops = ops
        self.made_by = made_by
        self.kept = kept
        self.taken = collect_names(graph)
        self.left_over = _PER_NODE * sum(1 for _ in graph.walk()) + 1000
        self.said: list[Remark] = []
        self.left: dict[str, Remark] = {}
        self.by_root: dict[str, list[tuple[Rule, Apply]]] = {}
        self.depth = 1
        for rule in rules:
            for root in parse_pattern(rule.pattern):
                self.depth = max(self.depth, depth(root))
                for kind in root.roots(ops):
                    self.by_root.setdefault(kind, []).append((rule, root))

    def rewritten(self, graph: Graph, outer: EditedScope | None) -> Graph:
        """Return the graph with rules applied, its bodies included."""
        scope = EditedScope(Editor(graph, self.taken, self.made_by), self.ops, outer)
        work = [node.name for node in graph.nodes]
        while work:
            self._apply_all(scope, work)
            again = rewrite_bodies(scope, lambda body: self.rewritten(body, scope))
            work = work if again else []
        if not scope.edit.changed:
            return graph
        after = scope.edit.finish()
        self.taken |= collect_names(after)
        return after

    def _apply_all(self, scope: EditedScope, names: Sequence[str]) -> None:
        """Visit nodes, and again those around a change, until nothing matches."""
        queue, waiting = deque(names), set(names)
        while queue:
            name = queue.popleft()
            waiting.discard(name)
            if name in scope.edit:
                again = [n for n in self._visit(scope, scope.edit.node(name)) if n not in waiting]
                queue += again
                waiting |= set(again)

    def _visit(self, scope: EditedScope, node: Node) -> Iterable[str]:
        """Apply the first rule that fits at a node; return the nodes to look at again."""
        for rule, pattern in self.by_root.get(node.kind, ()):
            for found in matches(pattern, node, scope):
                answer = self._answer(rule, Match(node, found, scope), scope)
                if isinstance(answer, Skip):
                    # the first rule that gives a reason is the most specific one
                    remark = skipped(node.name, answer.reason, answer.help)
                    self.left.setdefault(node.name, remark)
                elif answer is not None:
                    return self._apply(scope, rule, found, node, answer)
        return ()

    def _answer(self, rule: Rule, match: Match, scope: EditedScope) -> Answer:
        """Ask the rule, and check its answer against what the engine guarantees."""
        try:
            answer = rule.make(match)
        except NotConstantError as reason:
            return Skip(str(reason))
        if answer is None or isinstance(answer, Skip):
            return answer
        if isinstance(answer, (np.number, np.bool_)):
            answer = np.asarray(answer)
        root = match.root
        if self.kept and any(self.kept & set(n.origins) for _, n in match.found.nodes):
            return Skip("it, or a node it is matched with, is kept by option")
        if any(scope.users(v) or scope.is_output(v) for v in root.outputs[1:] if v):
            return Skip("more than its first result is used")
        if not isinstance(answer, Made) and scope.is_output(root.outputs[0]):
            answer = as_node(answer, scope)
        if isinstance(answer, Made):
            if is_there(answer, root):
                return None
            self._check_reads(rule, match, answer)
            found = scope.result_type(answer)
        elif isinstance(answer, np.ndarray):
            found = Constant(answer).type
        else:
            found = scope.type_of(answer)
        old = scope.type_of(root.outputs[0])
        return answer if agree(old, found) else Skip(f"its type would change from {old} to {found}")

    def _check_reads(self, rule: Rule, match: Match, made: Made) -> None:
        """Check that a new node reads nothing that goes with the match."""
        going = {
            v for _, n in match.found.nodes if n.name in match.found.consumed for v in n.outputs
        }
        stale = sorted(going & set(values_read(made)))
        if stale:
            raise SlimcError(
                "bad-rule", f"the new node reads '{stale[0]}', which goes with the match",
                f"pass {self.made_by}, pattern {rule.pattern}",
                "name the value in the pattern, or mark its node with & so that it stays",
            )  # fmt: skip

    def _apply(
        self,
        scope: EditedScope,
        rule: Rule,
        found: Found,
        root: Node,
        answer: Made | np.ndarray | str,
    ) -> Iterable[str]:
        """Put the answer in place of the match; return the nodes to look at again."""
        self.left_over -= 1
        if self.left_over < 0:
            raise SlimcError(
                "rules-do-not-end", f"the rules of {self.made_by} undo each other",
                f"'{root.name}', pattern {rule.pattern}", "this is a fault of the pass; report it",
            )  # fmt: skip
        gone = [scope.edit.node(name) for name in found.consumed]
        self.said.append(applied(root.name, _sentence(rule, gone, answer)))
        return self._around(scope, replace_match(scope, found, root, answer))

    def _around(self, scope: EditedScope, names: Sequence[str]) -> list[str]:
        """Return nodes, and those below them as far down as a pattern reaches."""
        found = dict.fromkeys(names)
        layer = list(found)
        for _ in range(self.depth - 1):
            outputs = [v for name in layer for v in scope.edit.node(name).outputs if v]
            layer = [u.name for v in outputs for u in scope.users(v) if u.name not in found]
            found.update(dict.fromkeys(layer))
        return list(found)


def _sentence(rule: Rule, gone: Sequence[Node], answer: Made | np.ndarray | str) -> str:
    """Say what was done: in the words of the answer, of the rule, or by operators."""
    if isinstance(answer, Made) and answer.says:
        return answer.says
    if rule.says:
        return rule.says
    ops = ", ".join(node.op for node in reversed(gone))
    if isinstance(answer, Made):
        return f"{ops} became {answer.op}"
    return f"{ops} became a constant" if isinstance(answer, np.ndarray) else f"{ops} removed"
