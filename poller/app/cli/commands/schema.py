"""`omics-poller schema`: JSON Schemas, for editors and receivers."""

import json
from typing import Annotated, Literal

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.output import Out


async def schema(
    of: Annotated[Literal["event", "config"], Parameter(name="WHAT", help="Which schema.")], /, *, out: Out
) -> ExitCode:
    """Print a JSON Schema: of the events that sinks receive, or of the configuration file.

    **Examples**

    `omics-poller schema event > event.schema.json`

    `omics-poller schema config > config.schema.json`, for an editor that completes TOML
    """
    if of == "event":
        from poller.core.event_data import CloudEvent

        document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **CloudEvent.model_json_schema()}
    else:
        from poller.settings.schema import config_schema

        document = config_schema()
    out.line(json.dumps(document, indent=2, ensure_ascii=False))
    return ExitCode.OK
