"""What Envoy tells the pilot of answers that are compared: the body in metadata, that in an access log."""

from forebay.plan.envoy import Json, build_any
from forebay.plan.names import COPY_HEADER, REASON_HEADER

CAPTURE = "forebay.shadow"
FILTER = "envoy.filters.http.lua"
# The names of the logs, of which one stream is one.
ANSWERS, COPIES = "answers", "copies"
# Of the v2 protocol's binary extension, and of gRPC, which may have it in its trailers.
LENGTH_HEADER, STATUS_HEADER = "inference-header-content-length", "grpc-status"
ENCODING_HEADER, GRPC_ENCODING_HEADER = "content-encoding", "grpc-encoding"
# Of an answer: a longer one isn't compared.
MAX_ANSWER_BYTES = 64 * 1024
_SCRIPT = "answers"
# Envoy's, for both logs each: what is told in the meantime is dropped.
_BUFFER_BYTES = 1024 * 1024
_FLUSH = "0.2s"

# An id is of this thread, this script, and the request's number: a thread has a table of its own at an address of its
# own. The answer goes on as it comes; of one that is too long the rest is not looked at.
_TELL_ANSWER = f"""
local told, count = tostring({{}}):gsub("[^%w]", ""), 0
function envoy_on_request(handle)
  count = count + 1
  local id = told .. "-" .. count .. "-" .. handle:timestampString(EnvoyTimestampResolution.MICROSECOND)
  handle:streamInfo():dynamicMetadata():set("{CAPTURE}", "id", id)
end
function envoy_on_response(handle)
  local parts, length = {{}}, 0
  for chunk in handle:bodyChunks() do
    length = length + chunk:length()
    if length > {MAX_ANSWER_BYTES} then
      handle:streamInfo():dynamicMetadata():set("{CAPTURE}", "cut", true)
      return
    end
    parts[#parts + 1] = chunk:getBytes(0, chunk:length())
  end
  handle:streamInfo():dynamicMetadata():set("{CAPTURE}", "body", handle:base64Escape(table.concat(parts)))
end
"""
# Nobody waits for this one, so that it is taken whole; Envoy ends what is longer than the route's buffer.
_TELL_COPY = f"""
function envoy_on_request(handle)
  local id = handle:headers():get("{COPY_HEADER}")
  handle:streamInfo():dynamicMetadata():set("{CAPTURE}", "id", id or "")
end
function envoy_on_response(handle)
  local body = handle:body(true)
  local length, metadata = body:length(), handle:streamInfo():dynamicMetadata()
  if length > {MAX_ANSWER_BYTES} then
    metadata:set("{CAPTURE}", "cut", true)
    return
  end
  metadata:set("{CAPTURE}", "body", handle:base64Escape(body:getBytes(0, length)))
end
"""


def build_capture_filter() -> Json:
    """The HTTP filter of the listeners that answer clients: only where a route has its requests copied."""
    config = build_any("extensions.filters.http.lua.v3.Lua", source_codes={_SCRIPT: {"inline_string": _TELL_ANSWER}})
    return {"name": FILTER, "typed_config": config, "disabled": True}


def build_route_capture() -> Json:
    """The filter's config of a route whose requests are copied."""
    return {FILTER: build_any("extensions.filters.http.lua.v3.LuaPerRoute", name=_SCRIPT)}


def build_copy_capture() -> Json:
    """The HTTP filter of the listener that copies come to."""
    config = build_any("extensions.filters.http.lua.v3.Lua", default_source_code={"inline_string": _TELL_COPY})
    return {"name": FILTER, "typed_config": config}


def build_answer_log(name: str, cluster: str) -> Json:
    """Tells the pilot of these requests when they are over."""
    config = build_any(
        "extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": name,
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": cluster}},
            "buffer_flush_interval": _FLUSH,
            "buffer_size_bytes": _BUFFER_BYTES,
        },
        additional_response_headers_to_log=[
            "content-type",
            ENCODING_HEADER,
            GRPC_ENCODING_HEADER,
            LENGTH_HEADER,
            STATUS_HEADER,
            REASON_HEADER,
        ],
        additional_response_trailers_to_log=[STATUS_HEADER],
    )
    known = {"filter": CAPTURE, "path": [{"key": "id"}], "value": {"present_match": True}}
    only = {"metadata_filter": {"matcher": known, "match_if_key_not_found": False}}
    return {"name": "envoy.access_loggers.http_grpc", "filter": only, "typed_config": config}
