"""The inputs and outputs of a model, as its file tells them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One input or output. `shape` includes the batch, -1 is any size; None is a shape that the file doesn't tell.

    `datatype` is Triton's (TYPE_FP32), or empty with the reason in `unusable`. `batch` is the name of the first
    dimension where it is of any size and has one.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] | None
    batch: str = ""
    unusable: str = ""


@dataclass(frozen=True)
class Signature:
    """What goes into a model and what comes out of it."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def takes_batches(self) -> bool:
        """Whether the first dimension of all tensors is one and the same batch of any size.

        One that goes by two names isn't: as many rows of results as were found, say, is no batch.
        """
        tensors = [*self.inputs, *self.outputs]
        any_size = all(each.shape and each.shape[0] == -1 for each in tensors)
        return bool(self.inputs) and any_size and len({each.batch for each in tensors if each.batch}) <= 1
