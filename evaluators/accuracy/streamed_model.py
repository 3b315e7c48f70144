"""Forward passes with the weights of one block in memory at a time.

The model is built without weights. Embeddings, final norm and head are read once; a block's
tensors are read from the safetensors just before the block runs and dropped right after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.model_folder import ModelFolder

WeightEdit = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]
"""(linear layer's name, weights of shape (outputs, inputs)) -> weights to run with."""

InputObserver = Callable[[str, Any], None]
"""(linear layer's name, its input of shape (tokens, inputs) as a torch tensor)."""


BATCH_TOKENS = 4096
"""Tokens per forward pass; the weights are read once for each."""


def batches(windows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Windows, shape (windows, length), in batches of at most `BATCH_TOKENS` tokens."""
    size = max(BATCH_TOKENS // windows.shape[1], 1)
    for start in range(0, len(windows), size):
        yield windows[start : start + size]


def keep(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The edit that changes nothing."""
    return weights


@dataclass
class StreamedModel:
    """A model folder that runs block by block.

    Attributes:
        folder: The model folder.
        peak_resident: Largest number of weights in memory so far.
    """

    folder: ModelFolder
    peak_resident: int = field(default=0, init=False)

    @cached_property
    def module(self) -> Any:
        """The model, its blocks without weights.

        Raises:
            ValueError: If the folder lacks a tensor of the model.
        """
        import transformers

        path = str(self.folder.path)
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
        auto = transformers.AutoModelForCausalLM if self.folder.is_decoder else None
        with _parameters_on_meta():
            model = (auto or transformers.AutoModel).from_config(config)
        model.eval()
        blocks = _block_list(model)
        inside = {id(parameter) for parameter in blocks.parameters()}
        for name, parameter in list(model.named_parameters()):
            if id(parameter) not in inside:
                self._load(model, name)
        model.tie_weights()
        return model

    @cached_property
    def blocks(self) -> Mapping[str, Any]:
        """Block name -> module, in order."""
        blocks = list(_block_list(self.module))
        names = {id(module): name for name, module in self.module.named_modules()}
        return {names[id(block)]: block for block in blocks}

    @cached_property
    def linears(self) -> Mapping[str, str]:
        """Linear layer -> its block, in order; the layers that can be pruned."""
        import torch
        from transformers.pytorch_utils import Conv1D

        return {
            f"{block_name}.{name}": block_name
            for block_name, block in self.blocks.items()
            for name, module in block.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D)
        }

    def weights(self, linear: str) -> NDArray[np.float32]:
        """Weights of one linear layer, shape (outputs, inputs), read now."""
        tensor = self.folder.tensor(self._stored_name(f"{linear}.weight"))
        return np.asarray(self.turned(linear, tensor.numpy()))

    def shape(self, linear: str) -> tuple[int, int]:
        """(outputs, inputs) of one linear layer."""
        outputs, inputs = self.turned(linear, self.module.get_submodule(linear).weight).shape
        return int(outputs), int(inputs)

    def turned(self, linear: str, weights: Any) -> Any:
        """Weights as stored to (outputs, inputs), or back: GPT-2 stores them transposed."""
        from transformers.pytorch_utils import Conv1D

        transposed = isinstance(self.module.get_submodule(linear), Conv1D)
        return weights.T if transposed else weights

    def stored_name(self, linear: str) -> str:
        """Name of a linear layer's weight in the safetensors files."""
        return self._stored_name(f"{linear}.weight")

    def run(
        self,
        tokens: NDArray[np.int64],
        edit: WeightEdit = keep,
        observe: InputObserver | None = None,
    ) -> NDArray[np.float32]:
        """Last hidden states (encoder) or logits (decoder) of a batch of equally long sequences.

        Args:
            tokens: Token ids, shape (sequences, length).
            edit: Applied to the weights of every linear layer when it is loaded.
            observe: Sees every linear layer's input.

        Returns:
            Shape (sequences, length, width).
        """
        import torch

        arguments: dict[str, Any] = {"input_ids": torch.from_numpy(tokens)}
        if self.folder.is_decoder:
            arguments["use_cache"] = False
        else:
            arguments["attention_mask"] = torch.ones_like(arguments["input_ids"])
        with torch.inference_mode(), ExitStack() as hooks:
            for name, block in self.blocks.items():
                hooks.enter_context(self._streaming(name, block, edit))
            if observe is not None:
                hooks.enter_context(self._observing(observe))
            output = self.module(**arguments)
        states = output.logits if self.folder.is_decoder else output.last_hidden_state
        return np.asarray(states.numpy())

    @contextmanager
    def _streaming(self, name: str, block: Any, edit: WeightEdit) -> Iterator[None]:
        """Load the block's weights before it runs and drop them after."""

        def load(module: Any, inputs: Any) -> None:
            self._fill(name, block, edit)

        def drop(module: Any, inputs: Any, output: Any) -> None:
            block.to("meta")

        handles = [block.register_forward_pre_hook(load), block.register_forward_hook(drop)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            block.to("meta")

    @contextmanager
    def _observing(self, observe: InputObserver) -> Iterator[None]:
        """Show every linear layer's input to `observe`."""

        def watcher(name: str) -> Callable[[Any, Any], None]:
            def watch(module: Any, inputs: Any) -> None:
                observe(name, inputs[0].reshape(-1, inputs[0].shape[-1]))

            return watch

        handles = [
            self.module.get_submodule(name).register_forward_pre_hook(watcher(name))
            for name in self.linears
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _fill(self, block_name: str, block: Any, edit: WeightEdit) -> None:
        """Put the (edited) weights into a block."""
        import torch

        for name in [name for name, _ in block.named_parameters()]:
            self._load(self.module, f"{block_name}.{name}")
        edited_linears = [] if edit is keep else list(self.linears)
        for linear in [name for name in edited_linears if self.linears[name] == block_name]:
            module = self.module.get_submodule(linear)
            edited = self.turned(linear, edit(linear, self.turned(linear, module.weight.numpy())))
            changed = torch.from_numpy(np.ascontiguousarray(edited))
            module._parameters["weight"] = torch.nn.Parameter(changed, requires_grad=False)
        resident = sum(p.numel() for p in self.module.parameters() if p.device.type != "meta")
        self.peak_resident = max(self.peak_resident, resident)

    def _load(self, model: Any, name: str) -> None:
        """Replace one parameter by the stored tensor; a tied head has none and stays."""
        import torch

        owner, _, leaf = name.rpartition(".")
        stored = _stored(self.folder.tensor_files, name, model.base_model_prefix)
        if stored is None:
            if model.config.tie_word_embeddings and "embed" not in name:
                return
            raise ValueError(
                f"model folder {self.folder.path}: tensor {name!r} is missing in the weights"
            )
        value = torch.nn.Parameter(self.folder.tensor(stored), requires_grad=False)
        model.get_submodule(owner)._parameters[leaf] = value

    def _stored_name(self, name: str) -> str:
        stored = _stored(self.folder.tensor_files, name, self.module.base_model_prefix)
        assert stored is not None, name
        return stored


def _stored(files: Mapping[str, Any], name: str, prefix: str) -> str | None:
    """The name under which a parameter is stored: as it is, or with or without the base prefix."""
    options = (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
    return next((option for option in options if option in files), None)


def _block_list(model: Any) -> Any:
    """The repeated blocks: the module list with the most parameters.

    Raises:
        ValueError: If the model has no module list.
    """
    import torch

    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise ValueError(f"model {type(model).__name__}: no list of blocks to walk")
    return max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()))


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Parameters created inside hold no memory; buffers (rotary tables) stay real."""
    import torch

    original = torch.nn.Module.register_parameter

    def register(module: Any, name: str, parameter: Any) -> None:
        original(module, name, parameter)
        if parameter is not None:
            empty = parameter.detach().to("meta")
            module._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)

    torch.nn.Module.register_parameter = register
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = original
