"""The fields of a run's spec: names, types, defaults, ranges and what they mean, once for Python and the
command line, whose help must not wait for PyTorch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lnlib.catalog import METHODS, NETS, NOISES
from lnlib.checks import Count, Factor, Part, Rate, Seed, Whole

Options = dict[str, Any]


def _options(of: str) -> Any:
    return Field(default_factory=dict, description=f"An option of {of}; may be repeated.")


class SpecFields(BaseModel):
    """What `lnlib.papers.spec.Spec` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[
        str,
        Field(description="Data set, see `lnlib data`, or folder:PATH or csv:FILE for your own pictures."),
    ] = "digits"
    dataset_options: Options = _options("your own pictures, as size=32")
    train_size: Annotated[Count | None, Field(description="Training examples; all unless given.")] = None
    validation: Annotated[Part | Count, Field(description="Share or number of images for validation.")] = 0.2
    folds: Annotated[
        Count, Field(description="Cut the images into so many folds, one of which is held out.")
    ] = 1
    fold: Annotated[Whole, Field(description="Which of the folds is held out, from 0.")] = 0
    meta_size: Annotated[Whole, Field(description="Clean images kept apart, for methods that need some.")] = 0
    imbalance: Annotated[
        Factor, Field(description="How many times more images the largest class has than the smallest.")
    ] = 1.0
    noise: Annotated[
        str,
        Field(description=f"Kind of label noise: {', '.join(NOISES)}, or given by the data set."),
    ] = "uniform"
    rate: Annotated[Rate, "write 80% as 0.8", Field(description="Noise rate.")] = 0.5
    noise_options: Options = _options("the noise, as targets of flip")
    method: Annotated[str, Field(description=f"Method: {', '.join(METHODS)}.")] = "cross-entropy"
    method_options: Options = _options("the method, a hyper-parameter")
    source_options: Options = _options("the run that the method begins from, as patience")
    net: Annotated[str, Field(description=f"Network: {', '.join(NETS)}.")] = "mlp"
    net_options: Options = _options("the network")
    optimizer: Annotated[str, Field(description="adam, or sgd with momentum.")] = "adam"
    optimizer_options: Options = _options("the optimiser")
    epochs: Annotated[Count, Field(description="Passes over the training set.")] = 60
    batch_size: Annotated[Count, Field(description="Examples in a batch.")] = 64
    evaluate_every: Annotated[Count, Field(description="Epochs from one evaluation to the next.")] = 1
    measured: Annotated[
        Literal["all", "validation"],
        Field(description="Splits that evaluations measure; the best weights end with all of them."),
    ] = "all"
    patience: Annotated[Count | None, Field(description="Stop so many epochs after the best one.")] = None
    drop_last: Annotated[bool, Field(description="Leave a smaller last batch out.")] = False
    meta_batch_size: Annotated[Count, Field(description="Clean examples in a meta batch.")] = 100
    augment: Annotated[
        bool | Literal["reflect", "crop", "center"],
        Field(description="Flips and crops of the training images: LIMIT's, MetaInfoNet's, Clothing1M's."),
    ] = False
    augment_meta: Annotated[bool, Field(description="The same for the meta set.")] = True
    scaling: Annotated[
        Literal["dataset", "metainfonet"], Field(description="Whose mean and deviation scale the images.")
    ] = "dataset"
    precision: Annotated[
        Literal["float32", "bfloat16", "float64"], Field(description="Numbers to compute with.")
    ] = "float32"
    seed: Annotated[Seed, Field(description="Seed of split, noise and training.")] = 0
