"""Everything a fine-tuning follows from, as flags or a YAML file say it and as the run keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from depthbokeh.aperture import Aperture
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.render import Quality
from depthbokeh.training.losses import LossWeights

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["constant", "linear", "cosine"]

# Errors of the size that networks make, and light as it varies from photo to photo.
_AUGMENT = {"exposure": 0.3, "white_balance": 0.1, "saturation": 0.1, "disparity_gamma": 0.2, "disparity_noise": 0.02}


@dataclass(frozen=True)
class FinetuneConfig:
    """How a pipeline is fine-tuned.

    Attributes:
        data: Folder of the pairs, in any layout that :func:`depthbokeh.data.find_pairs` knows.
        layout: Its layout; by default found out.
        train_split: Pairs to learn from: ``train4400``, ``all``, ``train``, a file of ids, or ids as ``0-399``.
        val_split: Pairs to judge by, likewise, or ``none``.
        disparity: Folder beside the pictures that the disparity is taken from; ``none`` for no disparity at all.
        size: Height and width that pairs are resized to.
        crop: Height and width of a random part that is learned from, or ``None``.
        augment: Options of :class:`depthbokeh.data.Augmentation` beside the crop.
        mask_model: Name of the mask model.
        mask_options: Its own options, by name.
        mask_weights: ``"published"``, a checkpoint's path, or ``None`` for fresh weights.
        depth_model: Name of the depth model for photos without a disparity map, or ``None``.
        depth_weights: As ``mask_weights``.
        train_depth: Whether the depth model is trained too.
        train_mask: Whether the mask model is trained; without, the lens alone is.
        mask_gradient: Whether it is by the pictures; without, the mask's own losses alone act on it, for comparison.
        aperture: Shape of the blur.
        quality: The renderer's, ``"default"`` or ``"fast"``.
        layers: Depth slices of the renderer.
        strength: Where the blur strength starts: share of the longer side by which a disparity of 1 is blurred.
        gap: Disparity by which everything that is not subject is off the focus at least, while the mask learns.
        learn: Of strength, focus and gain, what is learned.
        learn_per_photo: What of it is learned for each photo too.
        match_exposure: Whether pictures are exposed as the photographs before they are compared.
        loss: What counts how much.
        settle: Share of the steps over which sparsity and smoothness grow to their full weights.
        steps: Optimizer steps.
        batch: Photos in a step, of all processes together, before ``accumulate``.
        accumulate: Batches to an optimizer step.
        lr: Learning rate of the models.
        lens_lr: Learning rate of strength, focus and gain.
        schedule: How the rates fall, to 0 at the end unless ``"constant"``.
        warmup: Steps over which they rise at the start.
        clip: Largest norm of the gradient, or ``None``.
        ema: Decay of the running mean of the parameters that is validated and saved; 0 for none.
        precision: ``"bf16"`` or ``"fp16"`` runs the models in half precision.
        checkpointing: Whether activations of the mask model are computed anew for the gradient: slower, less memory.
        workers: Processes that load data, for every process that trains.
        validate_every: Steps between validations.
        save_every: Steps between checkpoints.
        keep: How many checkpoints stay.
        patience: Validations in a row without a better picture after which training stops; 0 for never.
        seed: Another number gives another run.

    Example:
        >>> config = FinetuneConfig(data="ebb", learn=("strength", "gain"), steps=1000)
        >>> FinetuneConfig.from_dict(config.to_dict()) == config
        True
    """

    data: str = ""
    layout: str | None = None
    train_split: str = "train4400"
    val_split: str = "val294"
    disparity: str | None = None
    size: tuple[int, int] = (512, 768)
    crop: tuple[int, int] | None = None
    augment: dict[str, Any] = field(default_factory=lambda: dict(_AUGMENT))
    mask_model: str = "deeplab_vgg16"
    mask_options: dict[str, Any] = field(default_factory=dict)
    mask_weights: str | None = None
    depth_model: str | None = None
    depth_weights: str | None = None
    train_depth: bool = False
    train_mask: bool = True
    mask_gradient: bool = True
    aperture: str = "disk"
    quality: Quality = "default"
    layers: int = 8
    strength: float = 1 / 40
    gap: float = 0.3
    learn: tuple[str, ...] = ("strength",)
    learn_per_photo: tuple[str, ...] = ()
    match_exposure: bool = True
    loss: LossWeights = field(default_factory=LossWeights)
    settle: float = 0.5
    steps: int = 20_000
    batch: int = 4
    accumulate: int = 1
    lr: float = 1e-4
    lens_lr: float = 1e-2
    schedule: Schedule = "cosine"
    warmup: int = 0
    clip: float | None = 1.0
    ema: float = 0.0
    precision: Precision = "no"
    checkpointing: bool = False
    workers: int = 2
    validate_every: int = 500
    save_every: int = 500
    keep: int = 3
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        for name, allowed in (("quality", ("fast", "default")), ("precision", get_args(Precision))):
            _require(getattr(self, name) in allowed, name, getattr(self, name), f"one of {', '.join(allowed)}")
        _require(self.schedule in get_args(Schedule), "schedule", self.schedule, ", ".join(get_args(Schedule)))
        for name in ("steps", "batch", "accumulate", "validate_every", "save_every", "keep", "layers"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup", "workers", "patience"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("lr", "lens_lr"):
            _require(0 < getattr(self, name) < 1e3, name, getattr(self, name), "a positive rate")
        _require(self.gap >= 0, "gap", self.gap, "a disparity, at least 0")
        _require(0 <= self.settle <= 1, "settle", self.settle, "a share, 0 to 1")
        _require(0 <= self.ema < 1, "ema", self.ema, "a decay, 0 <= ema < 1")
        _require(self.clip is None or self.clip > 0, "clip", self.clip, "a positive norm, or none")

    def to_dict(self) -> dict[str, Any]:
        """As YAML and JSON can say it."""
        told = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> FinetuneConfig:
        """Read it again.

        Raises:
            ValueError: If there is something unknown or out of range.
        """
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(told) - set(known))
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}: expected some of {', '.join(known)}")
        values = dict(told)
        if isinstance(values.get("loss"), dict):
            odd = sorted(set(values["loss"]) - {entry.name for entry in fields(LossWeights)})
            if odd:
                names = ", ".join(entry.name for entry in fields(LossWeights))
                raise ValueError(f"unknown part of the loss {odd[0]!r}: expected {names}")
            values["loss"] = LossWeights(**values["loss"])
        defaults = cls()
        for name, value in values.items():
            default = getattr(defaults, name)
            if isinstance(default, tuple) or (name == "crop" and value is not None):
                values[name] = (value,) if isinstance(value, str) else tuple(value)
            elif default is not None and isinstance(value, bool) is not isinstance(default, bool):
                raise ValueError(f"{name} is {value!r}: expected something like {default!r}")
            elif isinstance(default, float) and isinstance(value, (int, str)):
                values[name] = float(value)  # YAML reads 1e-4 as a word
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a setting is of another type: {error}") from error


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from YAML.

    Raises:
        CheckpointError: If the file cannot be read or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "config.yaml")
        ...     _ = path.write_text("{lr: 0.0002, crop: [384, 512]}")
        ...     read_config(path)
        {'lr': 0.0002, 'crop': [384, 512]}
    """
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(told, dict):
        raise CheckpointError(f"{path}: holds a {type(told).__name__}, expected settings by name")
    return told


def _require(valid: bool, name: str, value: object, expected: str) -> None:
    if not valid:
        raise ValueError(f"{name} is {value!r}: expected {expected}")
