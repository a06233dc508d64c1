"""Models by name: a mask or a depth model is a factory that registers itself when it is imported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias, TypeVar

from torch import nn

Pretrained: TypeAlias = bool | str | PathLike[str]
"""``False``: fresh weights; ``True``: the published ones; a path: a checkpoint file."""

# Where weights come from is no property of the network that is built.
_ABOUT_WEIGHTS = ("pretrained", "backbone_weights")


@dataclass(frozen=True)
class Recipe:
    """The name and the options with which a model was created, and can be again."""

    name: str
    options: Mapping[str, Any]


_Factory = TypeVar("_Factory", bound=Callable[..., nn.Module])

_mask_models: dict[str, Callable[..., nn.Module]] = {}
_depth_models: dict[str, Callable[..., nn.Module]] = {}


def register_mask_model(name: str) -> Callable[[_Factory], _Factory]:
    """Make a factory reachable as ``create_mask_model(name)``.

    Args:
        name: The name, not yet taken by another mask model.

    Returns:
        A decorator that returns the factory as it was. The factory is called as
        ``factory(pretrained=..., **kwargs)`` and returns a module photo ``(B, 3, H, W)`` sRGB 0..1 to
        mask ``(B, 1, H, W)`` 0..1.

    Raises:
        ValueError: The name is taken.

    Example:
        >>> @register_mask_model("nothing_mask")
        ... def make_nothing(*, pretrained: Pretrained = False) -> nn.Module:
        ...     refuse_weights("nothing_mask", pretrained)
        ...     return nn.Identity()
        >>> create_mask_model("nothing_mask")
        Identity()
        >>> del _mask_models["nothing_mask"]
    """
    return _register(_mask_models, "mask", name)


def register_depth_model(name: str) -> Callable[[_Factory], _Factory]:
    """Make a factory reachable as ``create_depth_model(name)``.

    Args:
        name: The name, not yet taken by another depth model.

    Returns:
        A decorator that returns the factory as it was. The factory is called as
        ``factory(pretrained=..., **kwargs)`` and returns a module photo ``(B, 3, H, W)`` sRGB 0..1 to
        disparity ``(B, 1, H, W)`` 0..1, larger is nearer.

    Raises:
        ValueError: The name is taken.

    Example:
        >>> @register_depth_model("nothing_depth")
        ... def make_nothing(*, pretrained: Pretrained = False) -> nn.Module:
        ...     refuse_weights("nothing_depth", pretrained)
        ...     return nn.Identity()
        >>> create_depth_model("nothing_depth")
        Identity()
        >>> del _depth_models["nothing_depth"]
    """
    return _register(_depth_models, "depth", name)


def create_mask_model(name: str, *, pretrained: Pretrained = False, **kwargs: Any) -> nn.Module:
    """Build the mask model of that name.

    Args:
        name: One of `list_mask_models`.
        pretrained: Which weights to load, passed on to the model: ``False`` none, ``True`` the published
            ones, or the path of a checkpoint.
        **kwargs: Passed on to the model.

    Returns:
        A module: photo ``(B, 3, H, W)`` sRGB 0..1 to mask ``(B, 1, H, W)`` 0..1.

    Raises:
        ValueError: No mask model has this name, or the model refuses ``pretrained``.

    Examples:
        >>> import torch
        >>> model = create_mask_model("grabcut")
        >>> model(torch.rand(1, 3, 12, 20)).shape
        torch.Size([1, 1, 12, 20])
    """
    return _create(_mask_models, "mask", name, pretrained, kwargs)


def create_depth_model(name: str, *, pretrained: Pretrained = False, **kwargs: Any) -> nn.Module:
    """Build the depth model of that name.

    Args:
        name: One of `list_depth_models`.
        pretrained: Which weights to load, passed on to the model: ``False`` none, ``True`` the published
            ones, or the path of a checkpoint.
        **kwargs: Passed on to the model.

    Returns:
        A module: photo ``(B, 3, H, W)`` sRGB 0..1 to disparity ``(B, 1, H, W)`` 0..1, larger is nearer.

    Raises:
        ValueError: No depth model has this name, or the model refuses ``pretrained``.

    Examples:
        >>> import torch
        >>> model = create_depth_model("ground_plane")
        >>> model(torch.rand(1, 3, 12, 20)).shape
        torch.Size([1, 1, 12, 20])
    """
    return _create(_depth_models, "depth", name, pretrained, kwargs)


def list_mask_models() -> list[str]:
    """Return the names of all mask models, sorted.

    Examples:
        >>> "grabcut" in list_mask_models()
        True
    """
    return sorted(_mask_models)


def list_depth_models() -> list[str]:
    """Return the names of all depth models, sorted.

    Examples:
        >>> "ground_plane" in list_depth_models()
        True
    """
    return sorted(_depth_models)


def refuse_weights(name: str, pretrained: Pretrained) -> None:
    """Raise if weights are asked of a model that has none.

    Args:
        name: The model, for the message.
        pretrained: What the caller asked for.

    Raises:
        ValueError: ``pretrained`` is anything but ``False``.
    """
    if pretrained is not False:
        raise ValueError(
            f"pretrained is {pretrained!r}, but {name!r} has no weights to load: expected pretrained=False"
        )


def find_recipe(model: nn.Module) -> Recipe | None:
    """Return how a model was created by its name, ``None`` if it was made otherwise.

    Examples:
        >>> find_recipe(create_depth_model("ground_plane", horizon=0.3))
        Recipe(name='ground_plane', options={'horizon': 0.3})
    """
    recipe = getattr(model, "_depthbokeh_recipe", None)
    return recipe if isinstance(recipe, Recipe) else None


def _register(models: dict[str, Callable[..., nn.Module]], kind: str, name: str) -> Callable[[_Factory], _Factory]:
    if name in models:
        raise ValueError(f"name is {name!r}, which is a {kind} model already: expected a new name")

    def decorate(factory: _Factory) -> _Factory:
        models[name] = factory
        return factory

    return decorate


def _create(
    models: dict[str, Callable[..., nn.Module]], kind: str, name: str, pretrained: Pretrained, options: dict[str, Any]
) -> nn.Module:
    if name not in models:
        raise ValueError(f"name is {name!r}: expected a {kind} model, one of {', '.join(sorted(models))}")
    model = models[name](pretrained=pretrained, **options)
    # Kept on the model, so that copies of it have it too.
    kept = {key: value for key, value in options.items() if key not in _ABOUT_WEIGHTS}
    model._depthbokeh_recipe = Recipe(name, kept)  # type: ignore[assignment]
    return model
