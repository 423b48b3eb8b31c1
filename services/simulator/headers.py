"""Headers of every answer: ids, the edge's marks, and whether the body is compressed."""

import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from email.utils import formatdate
from random import Random

from services.simulator.errors import ErrorAnswer

_ids = Random()  # noqa: S311 unique, not secret
_SECURITY = ("strict-transport-security", "max-age=31536000; includeSubDomains; preload")
_EDGE = (
    ("server", "cloudflare"),
    ("vary", "Accept-Encoding"),
    ("cf-cache-status", "DYNAMIC"),
    ("x-robots-tag", "none"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)
GZIP_WINDOW = 31  # a gzip header and the largest window
COOKIE_PATH = "HttpOnly; SameSite=None; Secure; Path=/; Domain=api.anthropic.com"

Headers = list[tuple[str, str]]


def new_id(prefix: str) -> str:
    """Return an id as the API makes them, for example `req_011C…`."""
    return f"{prefix}_011C{b64encode(_ids.randbytes(15), b'Zz').decode()}"


class HeaderWriter:
    """Writes the heads of answers of one organisation."""

    def __init__(self, organization: str) -> None:
        self._organization = organization
        self._date = ("", 0)

    def success(
        self,
        request_id: str,
        workspace: str,
        limits: Mapping[str, str],
        random: Random,
        *,
        is_traced: bool = True,
        is_secured: bool = True,
    ) -> Headers:
        """Return the head of a 200, without its content type.

        Only Messages answers carry a trace, and all but those of count_tokens the HSTS header.
        """
        return [
            ("date", self._now()),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive"),
            *limits.items(),
            ("request-id", request_id),
            ("anthropic-organization-id", self._organization),
            ("anthropic-workspace-id", workspace),
            *_marks(random, is_traced=is_traced, is_secured=is_secured),
            ("server-timing", f"x-originResponse;dur={200 + random.getrandbits(12)}"),
        ]

    def failure(
        self, error: ErrorAnswer, request_id: str, workspace: str | None, limits: Mapping[str, str]
    ) -> Headers:
        """Return the head of an error, with its content type."""
        content_type = "text/plain" if error.plain else "application/json"
        headers = [
            ("date", self._now()),
            ("content-type", content_type),
            ("connection", "keep-alive"),
        ]
        if error.from_edge or error.plain:
            ray = ("cf-ray", f"{_ids.getrandbits(64):016x}-FRA")
            return [*headers, *error.headers.items(), ray, *_EDGE]
        headers.append(("transfer-encoding", "chunked"))
        if error.should_retry is not None:
            headers.append(("x-should-retry", "true" if error.should_retry else "false"))
        headers.append(("request-id", request_id))
        if workspace is not None:
            headers.append(("anthropic-organization-id", self._organization))
            headers.append(("anthropic-workspace-id", workspace))
        # Who is not known yet is not traced either.
        marks = _marks(_ids, is_traced=workspace is not None, is_secured=True)
        return [*headers, *limits.items(), *error.headers.items(), *marks]

    def _now(self) -> str:
        second = int(time.time())
        if self._date[1] != second:
            self._date = (formatdate(second, usegmt=True), second)
        return self._date[0]


def _marks(random: Random, *, is_traced: bool, is_secured: bool) -> Headers:
    marks = f"{random.getrandbits(160):040x}"
    return [
        *([_SECURITY] if is_secured else []),
        *([("traceresponse", f"00-{marks[:32]}-{marks[24:]}-01")] if is_traced else []),
        ("set-cookie", f"_cfuvid={marks}; {COOKIE_PATH}"),
        ("cf-ray", f"{marks[:16]}-FRA"),
        *_EDGE,
    ]


def compressor(
    headers: Headers, accepted: str, share: float, random: Random
) -> "zlib._Compress | None":
    """Choose a share of the answers to clients that take gzip; say so in the headers."""
    if "gzip" not in accepted or random.random() >= share:
        return None
    headers.append(("content-encoding", "gzip"))
    return zlib.compressobj(1, zlib.DEFLATED, GZIP_WINDOW)


def compressed(body: bytes, headers: Headers, accepted: str, share: float, random: Random) -> bytes:
    """Compress a whole body, if chosen."""
    chosen = compressor(headers, accepted, share, random)
    return body if chosen is None else chosen.compress(body) + chosen.flush()
