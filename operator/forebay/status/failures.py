"""Why a container ended."""

import re
import signal

from forebay.observation import Reason, Trouble
from forebay.script_log import explain_load
from forebay.status.containers import DOWNLOAD, ENVIRONMENT, QUEUE, SCRIPT, Container
from forebay.status.lines import clean, cut, find_event, find_last, find_last_error
from forebay.triton_log import explain_failure, explain_hang

# Exit statuses of `python -m forebay.serving`, which isn't imported for them: it would bring numpy.
EXIT_SCRIPT, EXIT_LOAD = 2, 3
_SCRIPTS = re.compile(r"/mnt/script/(files/)?")
# A download that failed so may work at another time.
PASSING = ("EndpointUnreachable", "ServerError", "CorruptDownload", "IndexUnreachable")
_BRINGING = {
    DOWNLOAD: (Reason.MODEL_DOWNLOAD_FAILED, "the model can't be downloaded"),
    SCRIPT: (Reason.SCRIPT_DOWNLOAD_FAILED, "the script can't be downloaded"),
    ENVIRONMENT: (Reason.ENVIRONMENT_FAILED, "the script's libraries can't be installed"),
}
# A first crash may have been bad luck, the third is none.
_ENOUGH_RESTARTS = 2


def check_memory(container: Container) -> Trouble | None:
    """Whether it took more memory than it has."""
    if container.failure.get("reason") != "OOMKilled":
        return None
    limit = container.spec.get("resources", {}).get("limits", {}).get("memory", "")
    kind = "initContainers" if container.is_init else "containers"
    advice = (
        f"raise {container.role}.resources.memory"
        if container.is_server
        else f"raise its limit: {container.role}.podTemplate.spec.{kind}: "
        f"[{{name: {container.name}, resources: {{limits: {{memory: ...}}}}}}]"
    )
    told = f"its {limit} of memory" if limit else "the memory that the node has"
    message = f"{container.where} needs more than {told} and was killed: {advice}"
    return Trouble(reason=Reason.OUT_OF_MEMORY, message=message, stalled=True)


def check_download(container: Container) -> Trouble | None:
    """Whether files that the server needs can't be had: in the words of what brings them."""
    if container.name not in _BRINGING or not container.failure or not container.failure.get("exitCode"):
        return None
    said = find_event(container.last_words)
    words = cut(clean(str(said.get("message") or "")), 600) or _quote(find_last(container.last_words), container)
    why = f" ({said['reason']})" if said.get("reason") else ""
    reason, what = _BRINGING[container.name]
    message = f"{container.where}: {what}{why}: {words}"
    stalled = bool(said) and said.get("reason") not in PASSING
    return Trouble(reason=reason, message=message, stalled=stalled)


def check_load(container: Container) -> Trouble | None:
    """Whether the server says why it can't load the model."""
    words = _explain_load(container) if container.failure else ""
    if words:
        advice = f"correct it; `{container.logs_command}` has more"
        message = f"{container.where} can't load the model: {cut(clean(words), 600)}: {advice}"
        return Trouble(reason=Reason.MODEL_LOAD_FAILED, message=message, stalled=_is_hopeless(container))
    if container.is_triton and "running" in container.state and (hang := explain_hang(container.hide(container.log))):
        message = f"{container.where} can't load the model, and waits for ever: {cut(clean(hang))}"
        return Trouble(reason=Reason.MODEL_LOAD_FAILED, message=message, stalled=True)
    return None


def check_crash(container: Container) -> Trouble | None:
    """Whether it ended, and nothing better is known."""
    ended = container.failure
    if not ended:
        return None
    find = find_last_error if container.name == QUEUE else find_last
    last = _quote(find(container.last_words), container)
    message = f"{container.where} {_describe_end(int(ended.get('exitCode') or 0))}: {last}"
    return Trouble(reason=Reason.CRASH_LOOP, message=message, stalled=_is_hopeless(container))


def _explain_load(container: Container) -> str:
    words, status = container.last_words, container.failure.get("exitCode")
    if container.is_triton:
        return "; ".join(explain_failure(words).splitlines())
    if container.is_script and status == EXIT_LOAD:
        return _SCRIPTS.sub("", explain_load(words, script=container.script_path) or find_last(words))
    if container.is_script and status == EXIT_SCRIPT:
        return _SCRIPTS.sub("", " ".join(words.split()))
    return ""


def _quote(line: str, container: Container) -> str:
    more = f"`{container.logs_command}`"
    return f'its last line is "{cut(line)}"; {more} has more' if line else f"it said nothing; look at {more}"


def _describe_end(status: int) -> str:
    if status == 0:
        return "ended by itself, with status 0, where it must keep running"
    if status == 128 + signal.SIGKILL:
        return "was killed (SIGKILL), as the kubelet does where its probes fail for long"
    try:
        return f"crashed with signal {signal.Signals(status - 128).name}"
    except ValueError:
        return f"ended with status {status}"


def _is_hopeless(container: Container) -> bool:
    return container.restarts >= _ENOUGH_RESTARTS
