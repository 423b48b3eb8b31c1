"""The prompt library: immutable versions in files, and a small TOML file that chooses the default.

A version is `prompts/<name>/v<N>.md`; what is in it is `prompt.py`'s.
"""

import re
import tomllib
from pathlib import Path
from typing import Final

import structlog

from services.worker.causes import NO_SUCH_PROMPT
from services.worker.prompt import Prompt, PromptError

SHIPPED: Final = Path(__file__).parent / "prompts"
_FILE: Final = re.compile(r"v([1-9][0-9]*)\.md")

_log = structlog.get_logger(__name__)


class PromptLibrary:
    """Every released version, read once, and the defaults, read again when their file changes."""

    def __init__(self, root: Path = SHIPPED, defaults: Path | None = None) -> None:
        self._versions: Final = _read(root)
        self._defaults_file: Final = defaults or root / "prompts.toml"
        self._stamp = self._stat()
        self._defaults = self._read_defaults()

    @property
    def prompts(self) -> list[Prompt]:
        """List every version, by name and number."""
        return [prompt for versions in self._versions.values() for prompt in versions.values()]

    def find(self, reference: str) -> Prompt:
        """Return the prompt of `name` (its default version) or `name@version`.

        Raises:
            SluiceError: `unknown_prompt`.
        """
        name, _, wanted = reference.partition("@")
        versions = self._versions.get(name)
        if versions is None:
            raise NO_SUCH_PROMPT.error(
                f"the library has {', '.join(self._versions)}, and not the prompt asked for",
                quoted=repr(name[:100]),
            )
        if not wanted:
            self._refresh()
            return versions[self._defaults[name]]
        version = versions.get(int(wanted)) if wanted.isascii() and wanted.isdigit() else None
        if version is None:
            raise NO_SUCH_PROMPT.error(
                f"prompt {name!r} is released as {', '.join(map(str, versions))}, and not as"
                " the version asked for",
                quoted=repr(wanted[:20]),
            )
        return version

    def _refresh(self) -> None:
        """Take up a replaced defaults file; a broken one changes nothing and is said once."""
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._defaults = self._read_defaults()
        except PromptError as exc:
            _log.warning("prompts.defaults_refused", reason=str(exc))
        else:
            _log.info("prompts.defaults_changed", **self._defaults)

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._defaults_file.stat()
        except OSError:  # being replaced at this moment
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def _read_defaults(self) -> dict[str, int]:
        try:
            defaults = tomllib.loads(self._defaults_file.read_text())["defaults"]
        except (OSError, tomllib.TOMLDecodeError, KeyError) as exc:
            raise PromptError(
                f"{self._defaults_file.name} needs a table [defaults]: {exc}"
            ) from exc
        for name, versions in self._versions.items():
            if defaults.get(name) not in versions:
                raise PromptError(
                    f"{self._defaults_file.name}: {name} = {defaults.get(name)!r};"
                    f" released: {', '.join(map(str, versions))}"
                )
        return {name: defaults[name] for name in self._versions}


def _read(root: Path) -> dict[str, dict[int, Prompt]]:
    versions: dict[str, dict[int, Prompt]] = {}
    for file in sorted(root.glob("*/v*.md")):
        number = _FILE.fullmatch(file.name)
        if number is None:
            raise PromptError(f"{file.name}: a version's file is named v<N>.md")
        prompt = Prompt(file.parent.name, int(number[1]), file.read_text())
        versions.setdefault(prompt.name, {})[prompt.version] = prompt
    return {name: dict(sorted(found.items())) for name, found in versions.items()}
