"""Data: where the images come from, and the task that a learner sees of them."""

from lnlib.data.dataset import METAINFONET_MEAN, METAINFONET_STD, Dataset, DatasetInfo, data_root
from lnlib.data.folder import image_folder, image_table
from lnlib.data.folds import fold_tasks, pooled
from lnlib.data.lazy import LazyImages
from lnlib.data.own import from_arrays, from_torch
from lnlib.data.own_files import FOLDER, TABLE
from lnlib.data.reading import Reading
from lnlib.data.sources import available, fetch, load
from lnlib.data.task import Split, Task, Truth, Visible, given_task, make_task

__all__ = [
    "FOLDER", "METAINFONET_MEAN", "METAINFONET_STD", "TABLE", "Dataset", "DatasetInfo", "LazyImages",
    "Reading", "Split", "Task", "Truth", "Visible", "available", "data_root", "fetch",
    "fold_tasks", "from_arrays", "from_torch", "given_task", "image_folder", "image_table", "load",
    "make_task", "pooled",
]  # fmt: skip
