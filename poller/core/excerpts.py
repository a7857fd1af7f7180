"""Log lines of a task, made fit to leave the account: what could be a secret or the name of a sample is masked.

By allow-list: of what looks like a name only that is shown which the operator's patterns name. A name is taken to be a
word of letters and digits mixed, a long number, the stem of a data file, a part of an address, a directory of data, and
the run's own name and tags; ordinary technical words (`_TECHNICAL`) are none. A name of letters alone in the midst of a
sentence looks like any other word, and cannot be found: docs/events.md says so. Pure; values of configured secrets are
not known here, their masking is `poller.redaction`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

MASK: Final = "[hidden]"
LONGEST_LINE: Final = 500
"""Characters of a line that are shown."""
LONGEST_MESSAGE: Final = 1000
"""Characters of a message that are shown."""
LONGEST_READ: Final = 2000
"""Characters of a line that are looked at."""
MOST_BYTES: Final = 32 * 1024
"""Of all lines together, as UTF-8: the last ones that fit, so that an event stays far below the limit of any sink."""
CUT_OFF: Final = "…"
SHORTEST_NAME: Final = 3
"""What is shorter is not looked for as a run's name or a value of its tags: it would blank out ordinary words."""

_CONTROLS: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOKENS: Final = (
    re.compile(r"\beyJ[A-Za-z0-9_=-]{8,}(?:\.[A-Za-z0-9_=+/-]*)*"),
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-|npm_|pypi-|hf_)[A-Za-z0-9_-]{8,}"),
    re.compile(r"\bA[A-Z]{2}A[A-Z0-9]{12,}"),
    re.compile(
        r"(?<![A-Za-z0-9/+])(?=[A-Za-z/+]*\d)(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
    ),
    re.compile(r"(?<![A-Za-z0-9+=_-])(?<!sha256:)(?=[A-Za-z+=_-]*\d)(?=[0-9+=_-]*[A-Za-z])[A-Za-z0-9+=_-]{32,}"),
)
"""Tokens of common makers, AWS's key ids and secret keys, and whatever is long and mixed."""
_ASSIGNED: Final = re.compile(
    r"(?i)(?<![\w-])([\w-]*(?:secret|token|passw(?:or)?d|passphrase|credential|api[-_]?key|private[-_]?key|signature)[\w-]*"
    r"[\"']?(?:\s*[=:]\s*|(?<=[A-Za-z0-9])\s+(?=\S)))([\"']?)(?!\[hidden\])([^\s\"'&,;]+)"
)
_AFTER_A_SPACE: Final = re.compile(r"^--?\w")
_PIECE: Final = re.compile(
    r"(?P<address>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*)"
    r"|(?P<email>(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+\w+)"
    r"|(?P<time>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\w))"
    r"|(?P<path>(?:(?<![\w.-])~?/|(?<=\s)\.{1,2}/|^\.{1,2}/)(?:[^\s\"'<>|:;,()\[\]{}=]|\[hidden\])*)"
    r"|(?P<word>[^\W_][\w.-]*|_+[\w.-]+)"
)
_ADDRESS: Final = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*")
_DATA_FILE: Final = re.compile(
    r"(?i)(?P<stem>.+?)(?P<ending>(?:\.(?:bam|bai|cram|crai|sam|fastq|fq|fasta|fa|fai|g?vcf|bcf|bed|bedpe|bigwig|bw|gtf|gff3?"
    r"|csv|tsv|txt|xlsx?|pod5|fast5|h5|h5ad|rds|maf|ped|bim|fam|idat|idx|tbi|csi|gz|bgz|bz2|zip|tar|md5))+)"
)
_SYSTEM: Final = frozenset({"bin", "etc", "lib", "lib64", "opt", "proc", "sbin", "sys", "usr"})
"""What stands at the head of the path of a program, not of data."""
_PLACES: Final = frozenset(
    {
        "command", "conda", "data", "dev", "env", "envs", "home", "input", "inputs", "local", "log", "logs", "mnt",
        "out", "output", "outputs", "root", "run", "runs", "script", "scripts", "share", "src", "srv", "task",
        "tasks", "temp", "tmp", "tools", "var", "work", "workdir", "workflow", "workspace", ".", "..", "~", "",
    }
)  # fmt: skip
"""Directories that are called alike everywhere."""
_TECHNICAL: Final = re.compile(
    r"(?i)\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ns|us|ms|s|sec|min|m|h|hr|d|x|k|[kmgtp]i?b?|bp|kb|mb|gb|bits?|bytes?|st|nd|rd|th)?"
    r"|0x[0-9a-f]{1,16}"
    r"|v?\d+(?:\.\d+)+(?:[-.]?(?:rc|a|b|alpha|beta|dev|post|final|snapshot)[.\d]*)?"
    r"|(?:python|perl|java|openjdk|openssl|ruby|node|gcc|clang|cuda|lua|php|r)-?\d+(?:\.\d+)*"
    r"|lib[a-z_+]+\d*\.so(?:\.\d+)*"
    r"|x86[_-]64|x64|amd64|arm64|aarch64|i[36]86|utf-?(?:8|16|32)|latin-?1|iso-8859-1|cp1252"
    r"|(?:md5|sha1|sha256|sha512|crc32c?|base64|bzip2?|lz4|xxh64)(?:sum)?|hdf5|h5py|sqlite3|log4j2?|http2|ipv[46]|s3|ec2|k8s"
    r"|u?int(?:8|16|32|64)|float(?:16|32|64)|double64|p\d\d|q\d\d"
    r"|gatk4|bwa-mem2|minimap2|hisat2|bowtie2|bedtools2|deseq2|macs[23]|kraken2|bcl2fastq2?|fastq2bam|vcf2maf|sam2fastq|bam2fastq"
    r"|hg(?:19|38)|grch3[78]|grcm3[89]|mm(?:9|10|39)|t2t-chm13(?:v[\d.]+)?|chr(?:\d{1,2}|[xym]|mt|un)|r[12]|i[12]|fastq|fq"
    r"|xm[xsn]\d+[kmg]?"
    r"|[a-z]{2}(?:-gov)?-(?:(?:north|south)?(?:east|west)|north|south|central)-\d"
    r"|omics\.[a-z0-9]+\.\d*x?large|(?:[a-z0-9-]+\.)*amazonaws\.com"
)
_LONG_NUMBER: Final = re.compile(r"\d{6,}(?:[-.]\d+)*|\d+(?:[-.]\d+)*[-.]\d{6,}(?:[-.]\d+)*")


@dataclass(frozen=True, slots=True)
class NamePolicy:
    """Which names may be shown.

    `shown` are globs of whole names, case counts; `hidden` are names that are known (the run's, the values of its
    tags): whatever holds one of them is masked, unless a glob allows it; `plain` are words that are no names here (ids
    that the event itself shows).
    """

    shown: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()

    def allows(self, name: str) -> bool:
        """Whether the operator lets this name be shown."""
        return any(fnmatchcase(name, pattern) for pattern in self.shown)


def clean_line(line: str, names: NamePolicy) -> str:
    """A line without control characters, secrets and names, of at most `LONGEST_LINE` characters."""
    line = _PIECE.sub(lambda piece: _clean_piece(piece, names), _without_secrets(line)).rstrip()
    return _at_most(line, LONGEST_LINE)


def clean_message(text: str) -> str:
    """What the service says of a task, without secrets, as one line; names stay in it, as in a run's message."""
    text = _ADDRESS.sub(lambda address: _without_query(address[0]), _without_secrets(text))
    return _at_most(" ".join(text.split()), LONGEST_MESSAGE)


def shortened(text: str) -> str:
    """A text of at most `LONGEST_READ` characters, cut between two words: half a secret looks like none."""
    if len(text) <= LONGEST_READ:
        return text
    return f"{text[: LONGEST_READ - 2].rpartition(' ')[0] or MASK} {CUT_OFF}"


def _without_secrets(text: str) -> str:
    text = _CONTROLS.sub(" ", shortened(text))
    for token in _TOKENS:
        text = token.sub(MASK, text)
    return _ASSIGNED.sub(_without_value, text)


def _at_most(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - len(CUT_OFF)] + CUT_OFF


def without_controls(text: str) -> str:
    """A text as one line, without control characters and colours."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def last_that_fit(lines: Sequence[str], most_bytes: int = MOST_BYTES) -> list[str]:
    """The last lines that are no more than so many bytes together; an empty line counts as one."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        size += len(line.encode(errors="replace")) + 1
        if size > most_bytes:
            break
        kept.append(line)
    return kept[::-1]


def names_in(*values: object) -> tuple[str, ...]:
    """The texts among these values, and in lists and tables in them, that are long enough to be looked for as names."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value.strip())
        elif isinstance(value, dict):
            found += names_in(*value.values())
        elif isinstance(value, list | tuple):
            found += names_in(*value)
    return tuple(dict.fromkeys(name for name in found if len(name) >= SHORTEST_NAME))


def _without_value(found: re.Match[str]) -> str:
    name, quote = found[1], found[2]
    by_space = name[-1].isspace() and not re.search(r"[=:]\s*$", name)
    if by_space and not _AFTER_A_SPACE.match(name):
        return found[0]  # "the token expired" is a sentence, `--token abc` is not
    return f"{name}{quote}{MASK}"


def _clean_piece(piece: re.Match[str], names: NamePolicy) -> str:
    text = piece[0]
    match piece.lastgroup:
        case "time":
            return text
        case "email":
            return text if names.allows(text) else MASK
        case "address":
            return _clean_address(text, names)
        case "path":
            return _clean_path(text, names)
        case _:
            return _clean_word(text, names)


def _clean_address(address: str, names: NamePolicy) -> str:
    """Scheme and host; of the path what is allowed; never the query, which signs what is presigned, nor a password."""
    address, query, _ = _without_query(address).partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if _holds_a_name(host, names) and not names.allows(host):
        host = MASK
    parts = [part if part in _PLACES or names.allows(part) else MASK for part in path.split("/")] if slash else []
    return f"{scheme}://{'/'.join([host, *_without_repeats(parts)])}{query and query + MASK}"


def _without_query(address: str) -> str:
    """An address without user and password, and with nothing of its query but that there is one."""
    place, *query = re.split(r"[?#]", address, maxsplit=1)
    scheme, _, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" + (f"?{MASK}" if query and query[0] else "")


def _clean_path(path: str, names: NamePolicy) -> str:
    """A path on the task's machine: of programs word by word, of data only places that are called alike everywhere."""
    path, _, query = path.partition("?")
    *directories, last = path.split("/")
    of_a_program = any(part in _SYSTEM for part in directories[:2])
    clean = [
        part
        if part in _PLACES or part in _SYSTEM or names.allows(part)
        else (_clean_words(part, names) if of_a_program else MASK)
        for part in directories
    ]
    return "/".join([*_without_repeats(clean), _clean_words(last, names)]) + (f"?{MASK}" if query else "")


def _clean_words(text: str, names: NamePolicy) -> str:
    """A part of a path: whole if it is allowed, else as a word."""
    if not text or names.allows(text):
        return text
    return _clean_word(text, names)


def _without_repeats(parts: Iterable[str]) -> list[str]:
    """The parts, several masked ones in a row as one."""
    kept: list[str] = []
    for part in parts:
        if part != MASK or not kept or kept[-1] != MASK:
            kept.append(part)
    return kept


def _clean_word(word: str, names: NamePolicy) -> str:
    bare = word.rstrip(".-")
    after = word[len(bare) :]
    if not bare or bare in names.plain or names.allows(bare):
        return word
    if _holds_a_name(bare, names):
        return MASK + after
    file = _DATA_FILE.fullmatch(bare)
    if file is not None:
        shown = names.allows(file["stem"]) or file["stem"] in names.plain
        return word if shown else MASK + file["ending"] + after
    return MASK + after if _looks_like_a_name(bare) else word


def _holds_a_name(word: str, names: NamePolicy) -> bool:
    folded = word.casefold()
    return any(
        hidden.casefold() in folded if len(hidden) > SHORTEST_NAME else hidden == word for hidden in names.hidden
    )


def _looks_like_a_name(word: str) -> bool:
    """Letters and digits mixed, or a number long enough to be somebody's; unless it is technical."""
    if _LONG_NUMBER.fullmatch(word):
        return True
    has_digit = any(sign.isdigit() for sign in word)
    return has_digit and any(sign.isalpha() for sign in word) and _TECHNICAL.fullmatch(word) is None
