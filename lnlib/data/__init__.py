"""Data: where the images come from, and the task that a learner sees of them."""

from lnlib.data.sources import FOLDER, Dataset, DatasetInfo, available, data_root, fetch, image_folder, load
from lnlib.data.task import Split, Task, Truth, Visible, make_task

__all__ = [
    "FOLDER",
    "Dataset",
    "DatasetInfo",
    "Split",
    "Task",
    "Truth",
    "Visible",
    "available",
    "data_root",
    "fetch",
    "image_folder",
    "load",
    "make_task",
]
