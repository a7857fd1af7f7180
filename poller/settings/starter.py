"""The text of a first configuration, for `omics-poller init`: short, commented, and working as it is."""

import json
from collections.abc import Sequence
from typing import Final

_STARTER: Final = """\
# Configuration of omics-poller. All settings, with their defaults: docs/configuration.md and config.example.toml.
# `omics-poller check -c {name}` says whether it is right; `omics-poller run -c {name}` starts the daemon.

[aws]
{region}
{profile}
{endpoint_url}

[watch]
{watch}

[store]
url = "sqlite:///omics-poller.db"         # beside this file; what was seen, and who is still to be told

[http]
listen = "127.0.0.1:8780"                 # health and API, for this machine only; "" = off

# Who is told. This sink prints each event as a line of JSON.
[[sinks]]
name = "console"
type = "stdout"

# A signed webhook: `export LIMS_WEBHOOK_SECRET=whsec_…`, and take the # away.
#[[sinks]]
#name = "lims"
#type = "webhook"
#url = "https://lims.example.org/hooks/healthomics"
#secret = "${{LIMS_WEBHOOK_SECRET}}"
#events = ["completed", "failed", "cancelled", "vanished", "blind", "recovered"]
#match = {{ tags = {{ project = "x" }} }}     # only of these runs; also name, workflow, group, …: docs/routing.md

# A topic of Amazon SNS; a name that ends in .fifo keeps the order of each run.
#[[sinks]]
#name = "topic"
#type = "sns"
#topic_arn = "arn:aws:sns:us-east-1:123456789012:runs.fifo"
#format = "eventbridge"                   # AWS's own JSON, in place of CloudEvents; or a template: docs/formats.md
"""


def starter_config(
    *,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
    run_ids: Sequence[str] = (),
    name: str = "config.toml",
) -> str:
    """A configuration that follows `run_ids`, or without them every run, and prints what happens.

    Args: what is not given stays a comment, to be found as every AWS tool finds it; `name` is what the file is called.
    """
    every = "follow every run that is active, and every new one"
    if run_ids:
        named = f"run_ids = [{', '.join(map(_quoted, run_ids))}]"
        watch = f"{named:<40}  # also if they ended already\n{'#discover = true':<40}  # {every}"
    else:
        example = '#run_ids = ["1234567"]'
        watch = f"{'discover = true':<40}  # {every}\n{example:<40}  # and these, also if they ended already"
    return _STARTER.format(
        name=name,
        region=_line("region", region, "us-east-1", "without it AWS_REGION, or the profile's"),
        profile=_line("profile", profile, "research", "without it the credentials that every AWS tool finds"),
        endpoint_url=_line("endpoint_url", endpoint_url, "http://127.0.0.1:4566", "an emulator"),
        watch=watch,
    )


def _line(key: str, value: str | None, example: str, comment: str) -> str:
    if value is not None:
        return f"{key} = {_quoted(value)}"
    return f"{f'#{key} = {_quoted(example)}':<40}  # {comment}"


def _quoted(text: str) -> str:
    """A TOML string; a `${` in it stays one."""
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False).replace("\x7f", "\\u007f")
