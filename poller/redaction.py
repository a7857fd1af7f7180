"""No line shows a secret: the values that must not be shown, in every spelling, and what looks like a credential.

`redact` works on the text as it is written, so that nothing gets past it, whatever it came in: an exception's message,
a chained cause, bytes, a URL, a header.
"""

import base64
import re
import threading
from functools import cache
from typing import Final

from poller.core.excerpts import MASK

SHORTEST_SECRET: Final = 4
"""What is shorter is not looked for: it would blank out ordinary words, and keeps nothing safe."""


class _Secrets:
    """The values that no line may show, as one pattern of all the spellings in which they could come."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.lock = threading.Lock()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        with self.lock:
            if secret not in self.values:
                self.values.add(secret)
                self._pattern = None

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """None while there is nothing to hide."""
        with self.lock:
            if self._pattern is None and self.values:
                longest_first = sorted(self.values, key=lambda value: (-len(value), value))
                self._pattern = re.compile("|".join(way for value in longest_first for way in _spellings(value)))
            return self._pattern


_secrets: Final = _Secrets()


_PREFIX: Final = re.compile(r"whs(?:ec|k)_|(?:bearer|basic|token|digest)\s+", re.IGNORECASE)


def hide(secret: str) -> None:
    """From now on never show this value, in whatever spelling; one of fewer than 4 characters is not looked for.

    Of a value of several lines (a key file) each line is hidden by itself too, of `whsec_…` and `Bearer …` the rest.
    """
    parts = {secret, secret.strip(), *(line.strip() for line in secret.splitlines() if len(line.strip()) >= 8)}
    parts |= {_PREFIX.sub("", part, count=1) for part in parts}
    for part in parts:
        if len(part) >= SHORTEST_SECRET:
            _secrets.add(part)


def redact(text: str) -> str:
    """The text without any hidden value, and without what looks like a credential."""
    if (pattern := _secrets.pattern) is not None:
        text = pattern.sub(MASK, text)
    for look, replacement in _CREDENTIALS:
        text = look.sub(replacement, text)
    return text


def _spellings(secret: str) -> list[str]:
    """Patterns of the value as it is or escaped, however often: a repr inside JSON inside a message; and in base64."""
    return ["".join(map(_spellings_of_sign, secret)), *map(re.escape, sorted(_in_base64(_encoded(secret))))]


@cache
def _spellings_of_sign(sign: str) -> str:
    """What becomes of one sign in JSON, a repr, bytes, a URL, HTML; every `\\` may be doubled, every `%` a `%25`."""
    if sign.isascii() and sign.isalnum():
        return sign
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    octets = _encoded(sign)
    ways = [
        r"\\+" if sign == "\\" else rf"\\*(?:{'|'.join((re.escape(sign), *_OTHER_SPELLINGS.get(sign, ())))})",
        "".join(rf"\\+u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        "".join(rf"\\+x{octet:02x}" for octet in octets),
        "".join(f"%(?:25)*{octet:02x}" for octet in octets),
        rf"\\+U{ord(sign):08x}",
        *([rf"\\+x{ord(sign):02x}"] if ord(sign) < 256 else []),
        *([rf"\\+{_LETTERS[sign]}"] if sign in _LETTERS else []),
    ]
    return f"(?i:{'|'.join(ways)})"


_OTHER_SPELLINGS: Final = {
    " ": (r"\+",),
    "&": ("&(?:amp;)+",),
    "<": ("&(?:amp;)*lt;",),
    ">": ("&(?:amp;)*gt;",),
    '"': ("&(?:amp;)*(?:quot|#34);",),
    "'": ("&(?:amp;)*(?:apos|#39|#x27);",),
}
_LETTERS: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _in_base64(raw: bytes) -> set[str]:
    """What base64 makes of the value wherever in a text it stands: `user:secret`, or the secret alone."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        core = encoded[first:last]
        if len(core) >= 8:  # a shorter one could be part of any word
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found


_IS: Final = r"""(?:\\*["']?\s*[=:,]\s*(?:b?\\*["'])?|>)"""
"""What stands between a name and its value: in a header, JSON, a repr, a query, an ini file, XML."""
_NAMES: Final = (
    "aws_secret_access_key|aws_session_token|aws_security_token|secret_?access_?key|session_?token|x-amz-signature"
    "|x-amz-credential|x-amz-security-token|(?<!proxy_)(?<!client_key_)password|passwd|client_secret|api_?key"
)
"""Names of what is secret. Not of our own keys, whose values are known: an error that names one goes on behind it."""
_CREDENTIALS: Final = (
    (re.compile(r"\bwhs(?:ec|k)_[A-Za-z0-9+/=_-]+"), MASK),
    (
        re.compile(
            rf"(?i)(?<![a-z])((?:proxy-)?authorization{_IS})"
            r"(?:AWS4-[A-Z0-9-]+[^\"'\r\n\\]*|(?:(?:basic|bearer|digest|token|negotiate)\s+)?[^\s\"'\\,;<>]+)"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{16,}"), rf"\1{MASK}"),
    (re.compile(rf"(?i)({_NAMES})({_IS})(?!\[hidden\])[^\s\"'\\&,;<>)}}\]]+"), rf"\1\2{MASK}"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), MASK),
    (re.compile(r"(://[^/\s:@\"']*:)[^/\s@\"']+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[^\s\"'\\<>]+"), rf"\1{MASK}"),
)
