"""Count the clauses with "what" in docstrings and comments: plain English says the noun.

python ci/prose.py            a line for each package
python ci/prose.py --list     each line that has one
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("jobwire", "conformance/jobwire_conformance", "endurance", "bench", "ci")
MOST = 2.0
"""Clauses with "what" in 1,000 words."""
_WORD = re.compile(r"\w[\w'-]*")
_WHAT = re.compile(r"\b[Ww]hat\b")


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def counted() -> tuple[Counter[str], Counter[str], list[str]]:
    """Words and clauses by folder, and the lines that have one."""
    words: Counter[str] = Counter()
    clauses: Counter[str] = Counter()
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, text in texts(path.read_text(encoding="utf-8")):
                words[folder] += len(_WORD.findall(text))
                clauses[folder] += len(_WHAT.findall(text))
                if _WHAT.search(text):
                    found.append(f"{path.relative_to(ROOT)}:{line}")
    return words, clauses, found


def main() -> int:
    """Print the figures; 1 where there are too many in all."""
    words, clauses, found = counted()
    if "--list" in sys.argv[1:]:
        print(*found, sep="\n")
    for folder in FOLDERS:
        print(f"{folder:32} {words[folder]:6} words, {1000 * clauses[folder] / words[folder]:.1f} in 1,000")
    share = 1000 * clauses.total() / words.total()
    print(f"{'in all':32} {words.total():6} words, {share:.1f} in 1,000; {MOST} are the most")
    return 0 if share <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
