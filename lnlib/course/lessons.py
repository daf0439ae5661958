"""The lessons in the order of the course: their names in code, and what they are called."""

LESSONS = {
    "start_here": "00 start here",
    "bits": "00b bits",
    "fano_bound": "01 the Fano bound",
    "memorization": "02 memorisation",
    "generalization": "03 generalisation",
    "limit": "04 LIMIT",
    "metainfonet": "05 MetaInfoNet",
    "class_imbalance": "06 class imbalance",
}
