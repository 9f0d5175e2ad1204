"""Whether a transformer and its model fit: what it sends and reads, and what the model takes and gives."""

from collections.abc import Mapping, Sequence

from forebay.serving.tensors import Array, Arrays, Tensor, datatype_of, describe


def find_misfits(sent: Arrays, taken: Sequence[Tensor]) -> list[str]:
    """The names of the tensors that the model doesn't take; none where it doesn't say what it takes."""
    known = {tensor.name: tensor for tensor in taken}
    return [name for name, array in sent.items() if known and not _is_taken(name, array, known)]


def _is_taken(name: str, array: Array, known: Mapping[str, Tensor]) -> bool:
    tensor = known.get(name)
    return tensor is not None and datatype_of(array) == tensor.datatype and tensor.fits(array.shape)


def describe_misfit(model: str, arrays: Arrays, taken: Sequence[Tensor]) -> str:
    """What is said of tensors that a transformer sent, and that its model doesn't take."""
    sent = [Tensor(name, datatype_of(array), array.shape) for name, array in arrays.items()]
    return (
        f"preprocess of the transformer made {describe(sent)}, and model {model} takes {describe(taken)}: mend "
        "preprocess (BadRequest is for what a client got wrong), or serve the model that it was written for"
    )


def find_disagreement(model: str, declared: Sequence[Tensor], known: Sequence[Tensor], *, outputs: bool) -> str:
    """What a transformer's model_inputs or model_outputs say that its model doesn't; empty where they fit."""
    theirs = {tensor.name: tensor for tensor in known}
    wrong = [each for each in declared if each.name not in theirs or not each.agrees(theirs[each.name])]
    if not wrong or not known:
        return ""
    kind, verb = ("model_outputs", "gives") if outputs else ("model_inputs", "takes")
    return (
        f"the transformer's {kind} are {describe(declared)}, and model {model} {verb} {describe(known)}: mend the "
        "transformer, or serve the model that it was written for"
    )
