"""Core. The OS catalogue: one YAML file per OS.

It says which versions there are, where the files lie, how they are verified, and how the kernel is started. Data, not
code: what is read here is checked against these models and never run.

A `{word}` in a text stands for one of the words that docs/catalog.md lists; any other word is refused when the file is
read. iPXE's own `${...}` is left alone.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rackctl.errors import ConfigError

ConfigKind = Literal[
    "none", "cloud-config", "ignition", "preseed", "autoinstall", "autoyast", "talos", "apkovl", "k3os"
]
_WORD = re.compile(r"(?<!\$)\{([a-z_]+)\}")
URL_WORDS = frozenset({"version", "release", "arch", "os_arch", "suite", "channel"})
KERNEL_WORDS = URL_WORDS | {"base", "os", "config", "mac", "server"}
_MOST = 10_000  # values of one file; the longest that comes with rackctl has a hundred
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}")


def fill(text: str, words: Mapping[str, str]) -> str:
    """The text with each `{word}` replaced. Raises KeyError for a word that is not there."""
    return _WORD.sub(lambda found: words[found[1]], text)


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or re.search(r"\s", text):
        raise ValueError(f"{text!r} is not an http or https URL")
    return _known(text, URL_WORDS)


def _known(text: str, words: frozenset[str]) -> str:
    if unknown := sorted(set(_WORD.findall(text)) - words):
        raise ValueError(f"{{{unknown[0]}}} stands for nothing here; known are {', '.join(sorted(words))}")
    return text


def _kernel_word(text: str) -> str:
    if not text or re.search(r"\s", text):
        raise ValueError(f"{text!r}: one argument per line, without blanks")
    return _known(text, KERNEL_WORDS)


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as wrong:
        raise ValueError(f"{text!r} is not a regular expression: {wrong}") from wrong
    return text


Url = Annotated[str, AfterValidator(_url)]
KernelWord = Annotated[str, AfterValidator(_kernel_word)]
Regex = Annotated[str, AfterValidator(_regex)]
UrlText = Annotated[str, AfterValidator(lambda text: _known(text, URL_WORDS))]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wish(_Strict):
    """A way to word a version.

    match: regular expression over the whole wish. release, suite, channel: words for URLs; `\\1` stands for the
    expression's first group.
    """

    match: Regex
    release: str = ""
    suite: str = ""
    channel: str = ""

    @model_validator(mode="after")
    def _groups_are_there(self) -> Self:
        for text in (self.release, self.suite, self.channel):
            try:
                re.compile(f"(?:{self.match})|").fullmatch("").expand(text)  # type: ignore[union-attr]
            except (re.error, IndexError) as wrong:
                raise ValueError(f"{text!r}: {wrong}") from wrong
        return self


class Index(_Strict):
    """Where the versions are listed.

    github: the releases of `repository`. text: `pattern` finds `version` in what `url` holds. json: the value at the
    dotted path `version`. package: the version of the Debian package. fixed: one. exact: a wish that this matches is a
    version as it is, so that no list is asked for; prefix is put before it if absent.
    """

    kind: Literal["github", "text", "json", "package", "fixed"]
    repository: str = ""
    url: Url | None = None
    pattern: Annotated[UrlText, AfterValidator(_regex)] = ""
    version: UrlText = ""
    package: UrlText = ""
    exact: Regex = ""
    prefix: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "github": ["repository"],
            "text": ["url", "pattern"],
            "json": ["url", "version"],
            "package": ["package"],
        }
        for name in needs.get(self.kind, ["version"]):
            if not getattr(self, name):
                raise ValueError(f"an index of kind {self.kind} needs {name}")
        if self.kind == "text" and "version" not in re.compile(_WORD.sub("", self.pattern)).groupindex:
            raise ValueError("pattern needs a group (?P<version>...)")
        return self


class Keys(_Strict):
    """Who may sign.

    keyring: a file of catalog/keys/ or /usr/share/keyrings/, without its ending. Or the key's fingerprint and the url
    where it can be had: what comes from there counts only if it has that fingerprint.
    """

    keyring: str = ""
    fingerprint: Annotated[str, Field(pattern="^([0-9A-F]{40})?$")] = ""
    url: Url | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.keyring) == bool(self.fingerprint) or bool(self.fingerprint) != bool(self.url):
            raise ValueError("keys need a keyring, or a fingerprint with a url")
        return self


class Sums(_Strict):
    """A list of sha256.

    signature: URL of a detached signature; `inline` when the list is itself a signed message. since: the first version
    that has the list; the files of those before are pinned on first use.
    """

    url: Url
    signature: Url | Literal["inline"] | None = None
    since: str = ""


class Artifact(_Strict):
    """One file that is served.

    url: one, or several to try in order. package: a Debian package that has it. member: its path inside the archive
    that the url or the package is. entry: dotted path of an object with location, sha256 and signature in the json
    index. signature: URL of a detached one, over what the url is. listed: a second witness, `<list>#<name>`: a list of
    sums that the suite's InRelease lists, and the file's name in it. firmware: the only one that it is for.
    """

    name: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]
    role: Literal["kernel", "initrd", "loader", "file"]
    url: tuple[Url, ...] | Url | None = None
    package: UrlText = ""
    member: UrlText = ""
    entry: UrlText = ""
    signature: Url | None = None
    listed: UrlText = ""
    firmware: Literal["bios", "uefi"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(map(bool, (self.url, self.package, self.entry))) > 1:
            raise ValueError(f"{self.name}: one of url, package and entry")
        if self.package and not self.member:
            raise ValueError(f"{self.name}: a package needs a member")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it can be had, best first."""
        return () if self.url is None else (self.url,) if isinstance(self.url, str) else self.url


class Config(_Strict):
    """The machine's configuration: its kind, and the kernel arguments that tell where it lies (`{config}`)."""

    kind: ConfigKind = "none"
    args: tuple[KernelWord, ...] = ()


class Entry(_Strict):
    """One OS."""

    title: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1)]
    homepage: Url
    end_of_life: str = ""
    boot: Literal["kernel", "chain", "local"] = "kernel"
    built: bool = False
    min_ram: Annotated[int, Field(ge=0)] = 0
    firmware: tuple[Literal["bios", "uefi"], ...] = ("bios", "uefi")
    architectures: dict[Literal["amd64", "arm64"], str] = {"amd64": "amd64"}
    default: str
    wishes: tuple[Wish, ...] = ()
    index: Index
    artifacts: tuple[Artifact, ...] = ()
    sums: Sums | None = None
    keys: tuple[Keys, ...] = ()
    kernel_args: tuple[KernelWord, ...] = ()
    config: Config = Config()
    initrd_links: dict[str, str] = {}  # links that its init makes at start: an overlay must not be in their way
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.name for one in self.artifacts]
        if len(set(names)) != len(names):
            raise ValueError("two artifacts have the same name")
        roles = [one.role for one in self.artifacts]
        if self.boot == "kernel" and roles.count("kernel") < 1:
            raise ValueError("boot: kernel needs an artifact with role: kernel")
        if self.boot == "chain" and "loader" not in roles:
            raise ValueError("boot: chain needs an artifact with role: loader")
        signed = any(one.signature or one.entry for one in self.artifacts) or (self.sums and self.sums.signature)
        if signed and not self.keys:
            raise ValueError("signatures need keys")
        return self

    @property
    def verification(self) -> str:
        """How its files are verified, in a word or two."""
        if self.built or not self.artifacts:
            return "built here" if self.built else "nothing to verify"
        if any(one.package for one in self.artifacts):
            return "signed (apt chain)"
        if self.sums:
            return "signed sums" if self.sums.signature else "published sums"
        return "signed files" if any(a.signature or a.entry for a in self.artifacts) else "pinned on first use"


def parse_entry(text: str, name: str) -> Entry:
    """One catalogue file. Raises ConfigError that names file:line:column and the fault."""
    try:
        tree = YAML(typ="rt", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"YAML: {wrong.problem}", where, "look at the indentation and quotes there") from wrong
    except (YAMLError, ValueError, RecursionError) as wrong:
        raise ConfigError(f"YAML: {wrong}", name, "save the file as plain UTF-8 text") from wrong
    try:
        return Entry.model_validate(_plain(tree, [_MOST]))
    except RecursionError as wrong:
        raise ConfigError(f"YAML: {wrong}", name, "write the values out, without * and &") from wrong
    except ValidationError as wrong:
        faults = "\n".join(_fault(tree, one) for one in wrong.errors())
        line = _line(tree, wrong.errors()[0]["loc"])
        raise ConfigError(faults, f"{name}:{line}", "docs/catalog.md explains every key") from wrong


def _plain(value: Any, left: list[int]) -> Any:
    """Python's own maps and lists. left: how many values there may still be: aliases can stand for endless ones."""
    left[0] -= 1
    if left[0] < 0:
        raise RecursionError(f"its aliases stand for more than {_MOST} values")
    if isinstance(value, dict):
        return {str(key): _plain(item, left) for key, item in value.items()}
    return [_plain(item, left) for item in value] if isinstance(value, list) else value


def _fault(tree: Any, error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), list(Entry.model_fields), n=1)
        message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"line {_line(tree, error['loc'])}: {place + ': ' if place else ''}{message}"


def _line(tree: Any, path: tuple[Any, ...]) -> int:
    line = 1
    for part in path:
        marks = getattr(tree, "lc", None)
        try:
            found = marks.item(part) if isinstance(tree, list) else marks.key(part)  # type: ignore[union-attr]
            tree = tree[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
        line = found[0] + 1
    return line


@lru_cache
def _parse_shipped(file: Path) -> Entry:
    # Once a process: an OS that is a default in rack.yml's model is looked up without the rack's own catalogue.
    return parse_entry(file.read_text(encoding="utf-8"), str(file))


class Catalog:
    """The OSes that can be named: the package's, and the user's own on top. A file is parsed when it is asked for."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        """own: name -> text of the YAML files in the rack's catalog/ folder."""
        self._own = dict(own or {})
        self._folder = Path(__file__).resolve().parent.parent / "catalog"
        self._parsed: dict[str, Entry] = {}

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({file.stem for file in self._folder.glob("*.yml")} | set(self._own))

    def is_own(self, name: str) -> bool:
        """True for an entry of the rack's own folder."""
        return name in self._own

    def get(self, name: str) -> Entry:
        """Raises ConfigError for an unknown name (with the nearest known) and for a file that is wrong."""
        if name not in self._parsed:
            if name in self._own:
                if not _NAME.fullmatch(name):
                    remedy = "lower-case letters, digits, '.', '+' and '-': machines ask for it in URLs"
                    raise ConfigError("no name for an OS", f"catalog/{name}.yml", remedy)
                self._parsed[name] = parse_entry(self._own[name], f"catalog/{name}.yml")
            else:
                file = self._folder / f"{name}.yml"
                if not _NAME.fullmatch(name) or not file.is_file():
                    raise ConfigError(f"there is no OS {name!r}{self._near(name)}", remedy="rackctl os list")
                self._parsed[name] = _parse_shipped(file)
        return self._parsed[name]

    def _near(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.5)
        return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(self.names())}"


def find_wish(entry: Entry, wanted: str) -> tuple[Wish, dict[str, str]] | None:
    """The way this version is worded, and the words it gives to URLs."""
    for wish in entry.wishes:
        if found := re.fullmatch(wish.match, wanted):
            words = {"release": wish.release, "suite": wish.suite, "channel": wish.channel}
            return wish, {name: found.expand(text) for name, text in words.items()}
    return None


def choose_version(wanted: str, published: Iterable[str], pattern: str = "") -> str | None:
    """The newest published version that meets the wish, compared by all numbers in it.

    `v1.5.x`, `12`: those that begin with these numbers. A word such as `stable`: all. pattern: what versions look like.
    """
    fits = [one for one in published if not pattern or re.fullmatch(pattern, one)]
    if wanted in fits:
        return wanted
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:\.[x*])*", wanted)
    prefix = tuple(int(part) for part in found[1].split(".")) if found else ()
    keys = {one: tuple(int(part) for part in re.findall(r"\d{1,18}", one)) for one in fits}
    fits = [one for one in fits if keys[one][: len(prefix)] == prefix]
    return max(fits, key=lambda one: keys[one], default=None)
