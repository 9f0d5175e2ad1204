"""The messages of CSI, and of the kubelet's plugin registration, as far as an ephemeral volume needs them.

What isn't named here is kept by protobuf as an unknown field, and never looked at.
"""

from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass


class Field(NamedTuple):
    """A field of a message: its number, and its type as the .proto file has it."""

    name: str
    number: int
    type: str


Schema = dict[str, list[Field]]

_CSI: Schema = {
    "GetPluginInfoRequest": [],
    "GetPluginInfoResponse": [Field("name", 1, "string"), Field("vendor_version", 2, "string")],
    "GetPluginCapabilitiesRequest": [],
    "GetPluginCapabilitiesResponse": [],
    "ProbeRequest": [],
    "ProbeResponse": [],
    "NodeGetCapabilitiesRequest": [],
    "NodeGetCapabilitiesResponse": [],
    "NodeGetInfoRequest": [],
    "NodeGetInfoResponse": [Field("node_id", 1, "string")],
    "NodePublishVolumeRequest": [
        Field("volume_id", 1, "string"),
        Field("target_path", 4, "string"),
        Field("readonly", 6, "bool"),
        Field("secrets", 7, "map<string, string>"),
        Field("volume_context", 8, "map<string, string>"),
    ],
    "NodePublishVolumeResponse": [],
    "NodeUnpublishVolumeRequest": [Field("volume_id", 1, "string"), Field("target_path", 2, "string")],
    "NodeUnpublishVolumeResponse": [],
}
_REGISTRATION: Schema = {
    "InfoRequest": [],
    "PluginInfo": [
        Field("type", 1, "string"),
        Field("name", 2, "string"),
        Field("endpoint", 3, "string"),
        Field("supported_versions", 4, "repeated string"),
    ],
    "RegistrationStatus": [Field("plugin_registered", 1, "bool"), Field("error", 2, "string")],
    "RegistrationStatusResponse": [],
}
_TYPES = {"string": FieldDescriptorProto.TYPE_STRING, "bool": FieldDescriptorProto.TYPE_BOOL}
_MAP = "map<string, string>"


def build_file(package: str, schema: Schema) -> FileDescriptorProto:
    """The descriptor that protoc would make of such a file."""
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field, f".{package}.{name}")
    return file


def _add_field(message: DescriptorProto, field: Field, path: str) -> None:
    if field.type == _MAP:
        entry = f"{''.join(part.capitalize() for part in field.name.split('_'))}Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        for number, part in enumerate(("key", "value"), 1):
            _add_field(nested, Field(part, number, "string"), path)
        made = message.field.add(name=field.name, number=field.number, type=FieldDescriptorProto.TYPE_MESSAGE)
        made.type_name, made.label = f"{path}.{entry}", FieldDescriptorProto.LABEL_REPEATED
        return
    repeated = field.type.startswith("repeated ")
    made = message.field.add(name=field.name, number=field.number, type=_TYPES[field.type.removeprefix("repeated ")])
    made.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL


def _build_classes(package: str, schema: Schema) -> dict[str, Any]:
    # A pool of its own: another library of the process may bring the whole of CSI.
    pool = DescriptorPool()
    pool.Add(build_file(package, schema))
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in schema}


CSI = _build_classes("csi.v1", _CSI)
REGISTRATION = _build_classes("pluginregistration", _REGISTRATION)
