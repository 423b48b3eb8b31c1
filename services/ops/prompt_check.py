"""Whether a request's prompt and variables would pass a worker, found before it is published.

The rules are the worker's (`render`), on the library's files as they are here. Workers of another
release may have other prompts, so a person can do without.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.ops.failure import CommandFailed
from services.ops.prompts import Released
from sluice_contracts import CompletionRequested

_OTHERWISE: Final = "(--no-check-prompts, where workers have another library)"


class PromptCheck:
    """Checks requests against the prompt library.

    Args:
        released: Every version of the library.
    """

    def __init__(self, released: Sequence[Released]) -> None:
        self._versions: dict[str, dict[int, Released]] = {}
        for one in released:
            self._versions.setdefault(one.name, {})[one.version] = one

    def check(self, request: CompletionRequested) -> None:
        """Look at a request.

        Raises:
            CommandFailed: It would fail as `unknown_prompt`, `variables_missing`, or for a variable
                that is not the prompt's.
        """
        if request.prompt is None:
            return
        prompt = self._find(request.prompt)
        reference = f"{prompt.name}@{prompt.version}"
        known: Mapping[str, Any] = prompt.front_matter.get("variables", {})
        given = {name for name, value in request.variables.items() if value is not None}
        for name, about in known.items():
            if about.get("required") and name not in given:
                raise CommandFailed(
                    f"prompt {reference!r} needs variable {name!r} ({about.get('description')}); "
                    f"give it with --var {name}=…, of a file with --map {name}=COLUMN"
                )
        for name in request.variables:
            if name not in known:
                raise CommandFailed(
                    f"prompt {reference!r} takes {', '.join(known)}, and not variable {name!r}; "
                    "leave it out, of a file by naming the others: --map VARIABLE=COLUMN"
                )
        for name in prompt.front_matter.get("choices", {}).values():
            if name in given and not _are_choices(request.variables[name]):
                raise CommandFailed(
                    f"prompt {reference!r}: variable {name!r} must be a list of different strings; "
                    "write it in a .jsonl file"
                )

    def _find(self, reference: str) -> Released:
        name, _, wanted = reference.partition("@")
        versions = self._versions.get(name)
        if versions is None:
            known = ", ".join(sorted(self._versions))
            raise CommandFailed(f"there is no prompt {name!r}; released: {known} {_OTHERWISE}")
        if not wanted:
            found = next((one for one in versions.values() if one.is_default), None)
        else:
            is_number = wanted.isascii() and wanted.isdigit()
            found = versions.get(int(wanted)) if is_number else None
        if found is None:
            what = f"version {wanted!r}" if wanted else "default version"
            known = ", ".join(map(str, versions))
            raise CommandFailed(f"prompt {name!r} has no {what}; released: {known} {_OTHERWISE}")
        return found


def _are_choices(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(value, str) for value in values)
        and len(set(values)) == len(values)
    )
