"""Builds objects from configuration, from allowed packages only.

Hydra's `_target_` can name any callable of any installed package. Configurations may come from
elsewhere, so every target is resolved and checked before the first one is called: it must be
*written* under an allowed prefix and *defined* under one too (`strategies.tuning.tuner.time.sleep`
is reachable through our package but is not ours). Arguments that are objects are passed as they
are, which Hydra's own `instantiate` does not do for data classes. Understood: `_target_`,
`_partial_` (and `_convert_`, which changes nothing here: arguments are always plain data).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from spaces.validation import FieldError, nearest
from strategies.problem import Problem
from strategies.strategy import Strategy

ALLOWED_PREFIXES = ("spaces.", "evaluators.", "strategies.", "optuna.samplers.", "pymoo.")
"""Packages whose classes and functions a configuration may name."""

CONTROL_KEYS = ("_target_", "_partial_", "_convert_")
"""Keys that say how to build an object; all others are its arguments."""


def instantiate(config: Any, key: str = "config", **arguments: Any) -> Any:
    """Build what a configuration describes, after checking every `_target_` in it.

    Args:
        config: A node with `_target_`, nested ones included; other nodes come back as plain data.
        key: Dotted name of the node, for messages.
        arguments: Objects added to those of the outermost node.

    Raises:
        ValueError: One line that names the key, the rule and the value: a target outside the
            allowed packages, one that does not exist, or an argument it does not have.
    """
    node = config if OmegaConf.is_config(config) else OmegaConf.create(config)
    plain = OmegaConf.to_container(node, resolve=True)
    check_targets(plain, key, frozenset(arguments))
    check_given(plain, key, OmegaConf.missing_keys(node._get_root()))
    return _build(plain, key, arguments)


def _build(node: Any, key: str, arguments: Mapping[str, Any]) -> Any:
    """Build a checked node, its children first."""
    if isinstance(node, list):
        return [_build(child, f"{key}[{index}]", {}) for index, child in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    built = {
        name: _build(child, f"{key}.{name}", {})
        for name, child in node.items()
        if name not in CONTROL_KEYS
    }
    if "_target_" not in node:
        return built
    target = resolve_target(node["_target_"], key)
    if node.get("_partial_"):
        return partial(target, **built, **arguments)
    try:
        return target(**built, **arguments)
    except TypeError as error:
        raise ValueError(f"{key}: {target.__name__}: {error}") from error


def build_problem(config: DictConfig) -> Problem:
    """Space, evaluator and goal that the configuration names."""
    if not isinstance(config.workers, int) or config.workers < 1:
        raise ValueError(f"workers: must be a whole number >= 1, got {config.workers!r}")
    return Problem(
        space=instantiate(config.space, "space"),
        evaluator=instantiate(config.evaluator, "evaluator"),
        goal=instantiate(config.objective, "objective"),
        workers=config.workers,
        engine=str(config.get("engine", "processes")),
    )


def make_strategy(config: Any, problem: Problem, seed: int | None = None) -> Strategy:
    """Build a strategy; it gets those of `problem`, `space`, `evaluator`, `goal`, `seed` it names.

    Raises:
        ValueError: See `instantiate`; also when the object cannot `ask` and `tell`.
    """
    target = resolve_target(str(config.get("_target_")), "strategy")
    offered = {
        "problem": problem,
        "space": problem.space,
        "evaluator": problem.evaluator,
        "goal": problem.goal,
        "seed": seed,
    }
    named = inspect.signature(target).parameters
    arguments = {k: v for k, v in offered.items() if k in named and k not in config}
    strategy = instantiate(config, "strategy", **arguments)
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy: must have ask and tell, got {type(strategy).__name__}")
    return strategy


def check_targets(node: Any, key: str, given: frozenset[str] = frozenset()) -> None:
    """Raise ValueError unless every `_target_` below the node may be called with its arguments."""
    for path, mapping in _mappings(node, key):
        if "_target_" in mapping:
            target = resolve_target(mapping["_target_"], path)
            _check_arguments(target, mapping, path, given if path == key else frozenset())


def check_given(node: Any, key: str, missing: Iterable[str] = ()) -> None:
    """Raise ValueError for a value below the node that is still to be given (`???`).

    Args:
        node: Plain data.
        key: Dotted name of the node.
        missing: Dotted names by which a user may give the missing values.

    >>> check_given({"hardware": {"path": "???"}}, "evaluator", ["hardware.path"])
    Traceback (most recent call last):
    ValueError: hardware.path: needs a value, write hardware.path=...
    """
    for path, mapping in _mappings(node, key):
        for name, value in mapping.items():
            if value == MISSING:
                place = f"{path}.{name}"
                place = next((key for key in missing if place.endswith(f".{key}")), place)
                raise ValueError(f"{place}: needs a value, write {place}=...")


def resolve_target(name: Any, key: str) -> Any:
    """The class or function that a `_target_` names.

    Raises:
        ValueError: If it is outside the allowed packages or does not exist.

    >>> resolve_target("os.system", "strategy")
    Traceback (most recent call last):
    ValueError: strategy._target_: must begin with spaces., evaluators., strategies., \
optuna.samplers., pymoo.; got 'os.system'
    """
    if not isinstance(name, str) or not name.startswith(ALLOWED_PREFIXES):
        raise ValueError(_refusal(key, name))
    found = _locate(name, key)
    if not callable(found) or not f"{_home(found)}.".startswith(ALLOWED_PREFIXES):
        raise ValueError(_refusal(key, name))
    return found


def _refusal(key: str, name: object) -> str:
    allowed = ", ".join(ALLOWED_PREFIXES)
    return f"{key}._target_: must begin with {allowed}; got {name!r}"


def _home(found: Any) -> str:
    """Module in which an object was defined; that of the owner for a class method."""
    return str(getattr(found, "__module__", None) or "")


def _locate(name: str, key: str) -> Any:
    """Import the longest module in the dotted name, then walk its attributes."""
    parts = name.split(".")
    found: Any = import_module(parts[0])
    for position, part in enumerate(parts[1:], start=1):
        if not hasattr(found, part):
            _import_if_present(".".join(parts[: position + 1]))
        if not hasattr(found, part):
            near = nearest(part, _public_names(found))
            raise ValueError(f"{key}._target_: {name!r} does not exist, no {part!r} there{near}")
        found = getattr(found, part)
    return found


def _import_if_present(module: str) -> None:
    """Import a module unless there is none of this name; other import errors surface."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise


def _public_names(module: Any) -> list[str]:
    """Names a user may have meant: sub-modules, and public classes and functions."""
    import pkgutil

    names = [name for name in vars(module) if not name.startswith("_")]
    names += [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    return sorted(set(names))


def _check_arguments(
    target: Any, mapping: Mapping[str, Any], path: str, given: frozenset[str]
) -> None:
    """Raise ValueError for an argument the target does not have, or one that is missing."""
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # built in C: nothing to compare with
        return
    kinds = [parameter.kind for parameter in parameters.values()]
    own = {k for k in mapping if k not in CONTROL_KEYS} | given
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in sorted(own):
            if name not in parameters:
                hint = nearest(name, parameters)
                message = f"{path}: {target.__name__} has no argument {name!r}{hint}"
                raise FieldError(message, f"{path}.{name}")
    if mapping.get("_partial_"):
        return
    for name, parameter in parameters.items():
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if named and parameter.default is parameter.empty and name not in own:
            raise ValueError(f"{path}.{name}: {target.__name__} needs this argument")


def _mappings(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping at or below the node with its dotted key."""
    if isinstance(node, Mapping):
        yield key, node
        for name, child in node.items():
            yield from _mappings(child, f"{key}.{name}")
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _mappings(child, f"{key}[{index}]")
