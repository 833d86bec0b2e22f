"""The import law, read from the sources: who may know whom, and what the pure core must not touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = frozenset({"blocklists", "resolver", "portal", "deploy"})
MAY_IMPORT = {
    "blocklists": frozenset({"blocklists"}),
    "resolver": frozenset({"resolver", "blocklists"}),
    "portal": frozenset({"portal", "blocklists"}),
    "deploy": OURS,
}
# The pure core: no sockets, no database, no processes, no clock of its own.
IMPURE = frozenset(
    {
        "socket",
        "socketserver",
        "ssl",
        "asyncio",
        "selectors",
        "http",
        "urllib.request",
        "httpx",
        "httpx_sse",
        "requests",
        "sqlalchemy",
        "sqlmodel",
        "sqlite3",
        "subprocess",
        "threading",
        "multiprocessing",
        "time",
        "random",
        "fastapi",
        "uvicorn",
    }
)
# The only two of `blocklists` that speak to the network; the decision must not even reach them (see below).
MAY_FETCH = frozenset({ROOT / "blocklists" / "fetch.py", ROOT / "blocklists" / "reach.py"})
DECISION = ("names", "policy", "policy_codec", "clients", "rules", "decide", "windows", "base", "snapshot", "signature")


def sources(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, those inside functions and `if TYPE_CHECKING` too. A relative import
    stays within its own package; `from a import b` counts as both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                yield node.lineno, package
            else:
                yield node.lineno, module
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def breaches(text: str, package: str, impure: frozenset[str] = frozenset()) -> list[str]:
    found = []
    for line, module in imports(ast.parse(text), package):
        first = module.partition(".")[0]
        if first in OURS and first not in MAY_IMPORT[package]:
            found.append(f"line {line}: {package} imports {module}")
        if first == "tests":
            found.append(f"line {line}: {package} imports the tests")
        if any(module == one or module.startswith(f"{one}.") for one in impure):
            found.append(f"line {line}: {module} does not belong in the pure core")
    return found


@pytest.mark.parametrize("package", sorted(OURS))
def test_no_package_imports_what_the_law_forbids(package: str) -> None:
    found = sources(package)
    assert found
    wrong = []
    for path in found:
        impure = IMPURE if package == "blocklists" and path not in MAY_FETCH else frozenset()
        wrong += [f"{path.relative_to(ROOT)} {one}" for one in breaches(path.read_text(), package, impure)]
    assert wrong == []


def test_the_decision_does_not_reach_the_network_by_any_way() -> None:
    waiting = [f"blocklists.{module}" for module in DECISION]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        path = ROOT / f"{module.replace('.', '/')}.py"
        if module in seen or not path.exists():
            continue
        seen.add(module)
        assert path not in MAY_FETCH
        waiting += [found for _, found in imports(ast.parse(path.read_text()), "blocklists")]
    assert {f"blocklists.{module}" for module in DECISION} <= seen


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("blocklists", "import resolver"),
        ("blocklists", "from portal.models import Request"),
        ("blocklists", "import socket"),
        ("blocklists", "from urllib import request"),
        ("blocklists", "import sqlalchemy.orm"),
        ("blocklists", "def f():\n    import httpx"),
        ("resolver", "import portal.app"),
        ("resolver", "if TYPE_CHECKING:\n    from portal import app"),
        ("resolver", "import importlib\nimportlib.import_module('portal.app')"),
        ("portal", "from resolver.wire import read"),
        ("portal", "from deploy import settings"),
        ("resolver", "from tests import support"),
    ],
)
def test_the_law_sees_a_breach(package: str, text: str) -> None:
    assert breaches(text, package, IMPURE if package == "blocklists" else frozenset())


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("resolver", "from blocklists.decide import decide\nimport socket"),
        ("portal", "from blocklists import names"),
        ("deploy", "import portal.app, resolver.worker"),
        ("blocklists", "from blocklists import names\nfrom . import names\nimport timeit"),
    ],
)
def test_the_law_allows_what_it_should(package: str, text: str) -> None:
    assert breaches(text, package, IMPURE if package == "blocklists" else frozenset()) == []
