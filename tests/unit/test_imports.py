"""Each file imports the submodules that it uses.

`import scipy` and `scipy.stats.t` work where somebody else has imported scipy.stats, as in the warm
Python of most tests, and fail in the plain Python of a user's job.
"""

import ast
import functools
import importlib.util
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import warm_python

AHEAD = {"numpy", "PIL", *(name.partition(".")[0] for name in warm_python.AHEAD)}
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
FIND = """
import importlib, operator, sys
for root, name in zip(sys.argv[1::2], sys.argv[2::2]):
    operator.attrgetter(name.removeprefix(f"{root}."))(importlib.import_module(root))
"""


def taken(source: str, packages: set[str] = AHEAD) -> set[tuple[str, str]]:
    """(what is imported, submodule of it that is used by its dotted name and not imported)."""
    nodes = list(ast.walk(ast.parse(source)))
    names, imported = {}, set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
            names |= {
                alias.asname or top: alias.name if alias.asname else top
                for alias in node.names
                for top in [alias.name.partition(".")[0]]
            }
        elif isinstance(node, ast.ImportFrom):
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {alias.asname or alias.name: inner[alias.name] for alias in node.names}
            imported |= {node.module, *inner.values()}
    used = set()
    for node in nodes:
        name, *below = dotted(node)
        if below and names.get(name, "").partition(".")[0] in packages:
            used.add((names[name], ".".join([names[name], *below])))
    return {(root, name) for root, name in used if name not in imported and is_module(name)}


def dotted(node: ast.AST) -> list[str]:
    """["a", "b", "c"] of `a.b.c`; [""] of what starts with no name."""
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]


@functools.cache
def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a parent that is a class, or has no spec
        return False


def lacking(found: set[tuple[str, str]]) -> list[str]:
    """What plain Pythons say, one for each package."""
    pairs = defaultdict(list)
    for root, name in sorted(found):
        pairs[root.partition(".")[0]] += [root, name]
    running = [
        subprocess.Popen([sys.executable, "-c", FIND, *some], stderr=subprocess.PIPE, text=True)
        for some in pairs.values()
    ]
    said = [(process.communicate()[1], process.returncode) for process in running]
    return [text for text, code in said if code]


def test_a_submodule_that_nobody_imports_is_found():
    text = "import xml, os\nfrom xml import sax\nxml.dom.minidom.parse\nos.path\nsax.parse"
    found = taken(text, {"xml", "os"})
    assert found == {("xml", "xml.dom"), ("xml", "xml.dom.minidom"), ("os", "os.path")}
    (said,) = lacking(found)
    assert "module 'xml' has no attribute 'dom'" in said


def test_each_file_imports_what_it_uses():
    files = sorted(SCRIPTS.rglob("*.py"))
    found = set().union(*(taken(file.read_text(encoding="utf-8")) for file in files))
    assert ("torch.nn", "torch.nn.init") in found
    assert lacking(found) == []
