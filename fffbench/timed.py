"""Which sources does a time depend on? A digest of them, by implementation, which only a change of these changes.

Two things are in it. The sources of the implementation: its Python module and those of ours that it imports, the CUDA
sources that these name, and of the C++ sources what the functions that they call need; as token streams without
comments, docstrings, white space, imports and includes, by content and not by path, so that documentation, formatting
and a moved file change nothing. And the measuring protocol, as the version that ``PROTOCOLS`` gives to the digest of
the modules that decide what a time is. Libraries and compilers are a machine's, and stored with it.

Works on any tree of files, so that the digests of an old commit are found in the same way (``benchmarks/studies/
timed_sources.py``), and with the standard library alone, because a build stores them: it loads this file by itself
(``buildtools/backend.py``), which is why all of it is in one.
"""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

DIGITS = 16
MOST_FILES = 2000  # that are remembered
UNKNOWN = "unknown"  # of a record whose sources nobody can know; equal to nothing, not even to itself
MODELS = "models"  # the name of what whole models are timed by
KERNELS = "compiled kernels"  # the name of all C++ sources, with which the compiled ones are compared
PROTOCOL = "measuring protocol"  # the name of its version, of which somebody else's implementation is measured

Tree = Mapping[str, bytes]  # content by path below ``fffbench/``; the build's file stands beside them under its name

# The modules that decide what a time is: what is called how often and between which readings of which clock, in which
# state of the caches, on which memory, in a process made how.
PROTOCOL_MODULES = (
    *("devices/clock.py", "devices/cpu.py", "devices/cuda.py", "measure/cellrun.py", "measure/fresh.py"),
    *("measure/idle.py", "measure/inputs.py", "measure/measuring.py", "measure/staging.py", "measure/worker.py"),
)
PROTOCOL_STEMS = ("ceilings",)  # of the C++ file that flushes a line
# Whoever changes one of these modules enters the new digest here: under a new version where a time may come out
# otherwise, under the same one with the reason why it cannot. Times of two versions are never pooled. A digest that is
# not entered is a version of its own.
PROTOCOLS: dict[str, tuple[int, str]] = {
    "ff39139d46afaf54": (1, "the first that has a version"),
}

SOURCES = (".py", ".cpp", ".hpp", ".h", ".cu", ".cuh")
COMPILED = (".cpp", ".hpp", ".h")
BUILD = "CMakeLists.txt"
ROOMS = ("implementations", "operators", "models", "blaslib.py", "nn.py", "swapping.py")  # that an import leads into
# the contract and the registry: they choose what is timed, and are not in it
NEVER = ("implementations/registry.py", "implementations/_plugin.py")
_CALLED = re.compile(r"\b_cpu\.(\w+)")
_BOUND = re.compile(rb'\(m, "(\w+)"|\bm\.(?:def|attr)\(\s*"(\w+)"')  # by the host side of an op
_OP = re.compile(r"/cpu/ops/(\w+)/")
_FLAG = re.compile(r"(?<![\w-])-(?!W)[A-Za-z][\w=+.,-]*|CMAKE_CXX_STANDARD \d+|CMAKE_BUILD_TYPE \w+")
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)
_SPLIT = re.compile(  # of C++: comments, and what must not be taken for one
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|R"\(.*?\)"|"(?:\\.|[^"\\\n])*"|\d[\w.]*(?:'[\w.]+)*|'(?:\\.|[^'\\\n])+'"""
    r"""|[A-Za-z_]\w*|\n|[^\s]""",
    re.DOTALL,
)


def digests(tree: Tree) -> dict[str, str]:
    """The digest of every implementation of ``tree`` by the name of its module; and of MODELS, KERNELS, PROTOCOL."""
    found = _Sources(tree)
    named = {name: found.digest(starts) for name, starts in sorted(_starts(tree).items())}
    return named | {KERNELS: found.kernels(), PROTOCOL: protocol_version(tree)}


def by_kernels(tree: Tree) -> set[str]:
    """The names, of those that ``digests`` gives, whose times depend on the compiled C++ sources."""
    found = _Sources(tree)
    return {KERNELS, *(name for name, starts in _starts(tree).items() if found.called(starts))}


def _starts(tree: Tree) -> dict[str, list[str]]:
    """Where what is timed begins, by name: one module, or those of whole models."""
    named = {Path(path).stem: [path] for path in tree if _implementation(path, tree[path])}
    models = [path for path in tree if path.startswith("models/") and path.endswith(".py")]
    if models:
        named[MODELS] = [*models, *(path for path in ("nn.py", "swapping.py") if path in tree)]
    return named


def of(implementation: str, known: Mapping[str, str]) -> str | None:
    """The digest of an implementation, which may be a variant of the module that ``known`` has; None without one."""
    while implementation not in known:
        implementation, _, last = implementation.rpartition("_")
        if not last or not implementation:
            return None
    return known[implementation]


def protocol(tree: Tree) -> str:
    """Digest of the modules that decide what a time is."""
    paths = [path for path in tree if path in PROTOCOL_MODULES or _compiled_stem(path) in PROTOCOL_STEMS]
    return _hash(sorted(content_digest(path, tree[path]) for path in paths))


def protocol_version(tree: Tree) -> str:
    """The version of the measuring protocol of ``tree``; its digest where nobody has given it a version."""
    found = protocol(tree)
    return str(PROTOCOLS[found][0]) if found in PROTOCOLS else found


def read_tree(package: Path) -> dict[str, bytes]:
    """The sources in the folder of the package, and the build's file beside it."""
    found = {
        path.relative_to(package).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.suffix in SOURCES and path.is_file() and "__pycache__" not in path.parts
    }
    build = package.parent / BUILD
    return found | ({BUILD: build.read_bytes()} if build.is_file() else {})


def foreign_digest(files: Iterable[Path], version: str) -> str | None:
    """Of somebody else's implementation, over the contents of ``files``, measured by a ``version`` of the protocol."""
    found = {content_digest(path.name, content) for path in files if (content := _content(path)) is not None}
    return _hash(["protocol", version, *sorted(found)]) if found else None


@lru_cache(maxsize=MOST_FILES)  # the tree of another commit differs in few files
def content_digest(path: str, content: bytes) -> str:
    """Of one file: of its tokens where it is of a kind that has them, else of its bytes."""
    return _hash(tokens(path, content)) if Path(path).suffix in SOURCES else hashlib.sha256(content).hexdigest()


def tokens(path: str, content: bytes) -> list[str]:
    """What a compiler or an interpreter sees of a file, less documentation, imports and includes."""
    text = content.decode("utf-8", "replace")
    if not path.endswith(".py"):
        return _cpp_tokens(text)
    try:
        return _python_tokens(text)
    except (SyntaxError, tokenize.TokenError):  # of a file of somebody else's, or of another Python
        return [text]


def _implementation(path: str, content: bytes) -> bool:
    folder, _, name = path.rpartition("/")
    own = folder == "implementations" and name.endswith(".py") and not name.startswith("_") and path not in NEVER
    return own and re.search(rb"^FAMILY\b", content, re.MULTILINE) is not None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _hash(parts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()[:DIGITS]


def _op(path: str) -> str | None:
    found = _OP.search(path)
    return found[1] if found and _compiled_stem(path) is not None else None


def _compiled_stem(path: str) -> str | None:
    return Path(path).stem if Path(path).suffix in COMPILED else None


class _Sources:
    """One tree, with what was found in it."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._version = tree, protocol_version(tree)
        self._of_file: dict[str, str] = {}
        self._imports: dict[str, list[str]] = {}
        self._cuda = {Path(path).name: path for path in tree if path.endswith((".cu", ".cuh"))}

    def called(self, starts: Iterable[str]) -> set[str]:
        """What of the compiled module these modules, or what they import, name: functions, and classes as texts."""
        modules = self._modules(starts)
        named = {name for path in modules for name in _CALLED.findall(self._text(path))}
        texts = {text for path in modules for text in _written(self._tree[path])[1] if text[:1].isupper()}
        return named | texts & {name for op in self._bound.values() for name in op}

    def kernels(self) -> str:
        """The digest of all C++ sources and of the flags that they are compiled with."""
        files = (path for path in self._tree if _compiled_stem(path) is not None)
        return _hash([*sorted(map(self._file, files)), *self._flags()])

    def digest(self, starts: Iterable[str]) -> str:
        modules, called = self._modules(starts), self.called(starts)
        parts = {self._file(path) for path in {*modules, *self._device_files(modules)}}
        if called:
            parts |= self._compiled(called)
        return _hash(["protocol", self._version, *sorted(parts)])

    def _text(self, path: str) -> str:
        return self._tree[path].decode("utf-8", "replace")

    def _file(self, path: str) -> str:
        if path not in self._of_file:
            self._of_file[path] = content_digest(path, self._tree[path])
        return self._of_file[path]

    def _modules(self, starts: Iterable[str]) -> set[str]:
        """``starts`` and what they import of ours, directly or not."""
        found, left = set(starts), list(starts)
        while left:
            path = left.pop()
            if path not in self._imports:
                self._imports[path] = list(self._imported(path))
            new = set(self._imports[path]) - found
            found |= new
            left += new
        return found

    def _imported(self, path: str) -> Iterator[str]:
        for name in _written(self._tree[path])[0]:
            place = name.removeprefix("fffbench.").replace(".", "/") + ".py"
            room = place.partition("/")[0]
            if name.startswith("fffbench.") and place in self._tree and room in ROOMS and place not in NEVER:
                yield place

    def _device_files(self, modules: Iterable[str]) -> set[str]:
        """The CUDA sources whose names stand in ``modules``, with what they include."""
        written = {text for path in modules for text in _written(self._tree[path])[1]}
        left = [self._cuda[name] for text in written for name in (text, f"{text}.cu") if name in self._cuda]
        found = set(left)
        while left:
            for name in _INCLUDE.findall(self._tree[left.pop()]):
                path = self._cuda.get(Path(name.decode("utf-8", "replace")).name)
                if path is not None and path not in found:
                    found.add(path)
                    left.append(path)
        return found

    def _compiled(self, called: set[str]) -> set[str]:
        """Of the C++ sources and the build's flags, what those need that name ``called``: their ops, and every runtime.

        An op is a folder, with the files of others that its own include.
        """
        left = [path for path in self._tree if _op(path) is not None and self._bound[_op(path) or ""] & called]
        found = set(left)
        while left:
            included = {path for name in _INCLUDE.findall(self._tree[left.pop()]) if (path := self._of_op(name))}
            left += included - found
            found |= included
        found |= {path for path in self._tree if _compiled_stem(path) is not None and _op(path) is None}
        return {*map(self._file, found), _hash(self._flags())}

    def _of_op(self, name: bytes) -> str | None:
        """The file of an op that an include names."""
        ending = f"/cpu/{name.decode('utf-8', 'replace')}"
        return next((path for path in self._tree if path.endswith(ending) and _op(path) is not None), None)

    @cached_property
    def _bound(self) -> dict[str, set[str]]:
        """What each C++ op gives Python, by its folder."""
        found: dict[str, set[str]] = {}
        for path in self._tree:
            if (op := _op(path)) is not None:
                names = (one or two for one, two in _BOUND.findall(self._tree[path]))
                found.setdefault(op, set()).update(name.decode() for name in names)
        return found

    def _flags(self) -> list[str]:
        uncommented = re.sub(r"#[^\n]*", "", self._text(BUILD)) if BUILD in self._tree else ""
        return sorted(set(_FLAG.findall(uncommented)))


@lru_cache(maxsize=MOST_FILES)
def _written(module: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a Python module imports, and the texts that stand in it."""
    names, texts = set[str](), set[str]()
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    return frozenset(names), frozenset(texts)


def _cpp_tokens(text: str) -> list[str]:
    found: list[str] = []
    line: list[str] = []
    instructions = re.search(r"\basm\b", text) is not None
    for match in _SPLIT.finditer(text + "\n"):
        word = match[0]
        if match["comment"] is not None or (word.startswith('"') and " " in word and not instructions):
            continue  # a sentence that documents or refuses is not timed; what an assembler reads is
        if word != "\n":
            line.append(word)
            continue
        if line[:2] == ["#", "include"] or line[:3] == ["#", "pragma", "once"]:
            line = []
        elif line[:1] == ["#"]:
            if line[-1] == "\\":  # the directive goes on
                line.pop()
                continue
            line.append("\n")
        found += line
        line = []
    return found


def _python_tokens(text: str) -> list[str]:
    found: list[str] = []
    line: list[str] = []
    for kind, word in _whole_strings(text):
        if kind == tokenize.INDENT:
            found.append("INDENT")
        elif kind == tokenize.DEDENT:
            if found[-1:] == ["INDENT"]:  # around imports alone
                found.pop()
            else:
                found.append("DEDENT")
        elif kind != tokenize.NEWLINE:
            line.append(word)
        else:
            if not _says_nothing(line):
                found += [*line, "\n"]
            line = []
    return [*found, *line]


def _whole_strings(text: str) -> Iterator[tuple[int, str]]:
    """Kind and text of each token that is not a comment; a formatted string is one token, as in Python 3.11."""
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
    begins, ends = getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1)
    rows, began, depth = text.splitlines(keepends=True), (0, 0), 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == begins:
            began, depth = (token.start if depth == 0 else began), depth + 1
        elif token.type == ends:
            depth -= 1
            if depth == 0:
                yield tokenize.STRING, _between(rows, began, token.end)
        elif depth == 0 and token.type not in ignored:
            yield token.type, token.string


def _between(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return rows[start[0] - 1][start[1] : end[1]]
    middle = rows[start[0] : end[0] - 1]
    return rows[start[0] - 1][start[1] :] + "".join(middle) + rows[end[0] - 1][: end[1]]


def _says_nothing(line: list[str]) -> bool:
    """Whether a logical line is a docstring, an import, or the condition of imports for the type checker."""
    return (
        line[:1] in (["import"], ["from"])
        or line == ["if", "TYPE_CHECKING", ":"]
        or (len(line) == 1 and re.match(r"[rRbBuUfF]{0,2}[\"']", line[0]) is not None)
    )
