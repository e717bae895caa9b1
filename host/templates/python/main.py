"""What the host calls, tied to the projection."""

from componentize_py_types import Err
from plugin import projection
import projectionist
import wit_world
from wit_world.exports.projection import (
    Descriptor,
    Encoding,
    Output,
    Ownership,
    Reject,
    View,
    Writes,
)
from wit_world.imports import documents, host
from wit_world.imports.columns import Column


projectionist.log_to(lambda level, message: host.log(host.Level[level.upper()], message))


class Projection(wit_world.exports.Projection):
    def describe(self) -> Descriptor:
        schema = projection.config_schema
        return Descriptor(
            name=projection.name,
            version=projection.version,
            description=projection.description,
            encoding=Encoding.JSON,
            views=[View(projection.view, Ownership.BY_KEY)],
            headers=projection.headers,
            config_schema="" if schema is None else projectionist.encode(schema).decode(),
        )

    def configure(self, config: str) -> None:
        try:
            projectionist.configure(projection, config)
        except Exception as error:
            # Any other exception ends the instance.
            raise Err(str(error))

    def project(self, batch) -> Output:
        events, ids, bodies, rejects = projectionist.project(
            projection, batch, lambda ids: documents.get_many(0, Column(*ids))
        )
        projectionist.end_lines()
        return Output(
            writes=Writes(events, [0] * len(events), Column(*ids), Column(*bodies)),
            messages=[],
            rejects=[Reject(event, reason) for event, reason in rejects],
        )
