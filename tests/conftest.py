"""Files whose tests take minutes come first: a worker that got one last would keep the others waiting."""

from collections import Counter

import pytest

LONG = ("faults", "smoke")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    many = Counter(item.path for item in items if any(item.get_closest_marker(name) for name in LONG))
    items.sort(key=lambda item: -many[item.path])
