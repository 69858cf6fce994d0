"""Partial orders in the way of C++'s standard library, for the NumPy reference: the algorithms of
`templates/common/introsort.h`, which decide what becomes of equal elements.

Positions are moved, keys say how they compare; keys without an order (NaN) may come anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_RUN = 16


class Positions:
    """The positions of `keys`, which the methods put in order."""

    def __init__(self, keys: Sequence[float]) -> None:
        self._keys = keys
        self.order = list(range(len(keys)))

    def partial_sort(self, kept: int) -> None:
        """The first `kept` in order, in order."""
        self._heap_select(0, kept, len(self.order))
        self._sort_heap(0, kept)

    def nth_element(self, nth: int) -> None:
        """The one that belongs at `nth` is there, smaller ones before it."""
        first, last = 0, len(self.order)
        depth = _depth(last)
        while last - first > 3:
            if depth == 0:
                self._heap_select(first, nth + 1, last)
                self._swap(first, nth)
                return
            depth -= 1
            cut = self._split(first, last)
            first, last = (cut, last) if cut <= nth else (first, cut)
        self._insertion_sort(first, last)

    def sort(self, length: int) -> None:
        """The first `length` in order; equal ones keep no order."""
        self._sort_roughly(0, length, _depth(length))
        self._insertion_sort(0, min(length, _RUN))
        for place in range(_RUN, length):
            self._insert(0, place)

    def quick_select(self, nth: int) -> None:
        """As `nth_element`, with other ones of equal elements."""
        low, high = 0, len(self.order) - 1
        while high > low + 1:
            self._swap(low + (high - low) // 2, low + 1)
            for left, right in ((low + 1, high), (low, high), (low + 1, low)):
                if self._before(right, left):
                    self._swap(left, right)
            left, right = low + 1, high
            while True:
                left += 1
                while self._before(left, low):
                    left += 1
                right -= 1
                while self._before(low, right):
                    right -= 1
                if right < left:
                    break
                self._swap(left, right)
            self._swap(low, right)
            if right <= nth:
                low = left
            if right >= nth:
                high = right - 1
        if high == low + 1 and self._before(high, low):
            self._swap(low, high)

    def _before(self, left: int, right: int) -> bool:
        return self._keys[self.order[left]] < self._keys[self.order[right]]

    def _swap(self, left: int, right: int) -> None:
        self.order[left], self.order[right] = self.order[right], self.order[left]

    def _insert(self, first: int, place: int) -> None:
        moved = self.order.pop(place)
        key = self._keys[moved]
        while place > first and key < self._keys[self.order[place - 1]]:
            place -= 1
        self.order.insert(place, moved)

    def _insertion_sort(self, first: int, last: int) -> None:
        for place in range(first + 1, last):
            if self._before(place, first):
                self.order.insert(first, self.order.pop(place))
            else:
                self._insert(first, place)

    def _sift(self, first: int, hole: int, length: int, moved: int) -> None:
        """The hole of a heap is filled: the larger child moves up all the way, then `moved` rises
        from there."""
        heap, keys, top = self.order, self._keys, hole
        while (child := 2 * hole + 2) <= length:
            if child == length or keys[heap[first + child]] < keys[heap[first + child - 1]]:
                child -= 1
            heap[first + hole] = heap[first + child]
            hole = child
        while hole > top and keys[heap[first + (hole - 1) // 2]] < keys[moved]:
            heap[first + hole] = heap[first + (hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[first + hole] = moved

    def _heap_select(self, first: int, kept: int, last: int) -> None:
        length = kept - first
        for parent in range(length // 2 - 1, -1, -1):
            self._sift(first, parent, length, self.order[first + parent])
        for place in range(kept, last):
            if self._before(place, first):
                moved, self.order[place] = self.order[place], self.order[first]
                self._sift(first, 0, length, moved)

    def _sort_heap(self, first: int, last: int) -> None:
        for place in range(last - 1, first, -1):
            moved, self.order[place] = self.order[place], self.order[first]
            self._sift(first, 0, place - first, moved)

    def _split(self, first: int, last: int) -> int:
        """Split by the median of the second, the middle and the last, which goes to the front:
        where the right part begins."""
        low, middle, high = first + 1, first + (last - first) // 2, last - 1
        if not self._before(low, middle):
            low, middle = middle, low
        if self._before(middle, high):
            high = middle
        elif not self._before(low, high):
            high = low
        self._swap(first, high)
        left, right = first + 1, last
        while True:
            while left < last and self._before(left, first):
                left += 1
            right -= 1
            while right > first and self._before(first, right):
                right -= 1
            if left >= right:
                return left
            self._swap(left, right)
            left += 1

    def _sort_roughly(self, first: int, last: int, depth: int) -> None:
        while last - first > _RUN:
            if depth == 0:
                self._heap_select(first, last, last)
                self._sort_heap(first, last)
                return
            depth -= 1
            cut = self._split(first, last)
            self._sort_roughly(cut, last, depth)
            last = cut


def _depth(length: int) -> int:
    """Twice the depth at which halving would end."""
    return 2 * max(length.bit_length() - 1, 0)


def ranks(row: np.ndarray) -> np.ndarray:
    """Integers in the order of the elements; a NaN is larger than every number."""
    return np.unique(row, return_inverse=True)[1]


def order_positions(row: np.ndarray, descending: bool) -> list[int]:
    """The positions of a row in the order of its elements, as PyTorch sorts where it need not be stable."""
    keys = ranks(row)
    if descending:
        keys = -keys
    if np.unique(keys).size == row.size:
        return list(np.argsort(keys))
    positions = Positions(keys.tolist())
    positions.sort(row.size)
    return positions.order


def top_positions(row: np.ndarray, kept: int, largest: bool, is_sorted: bool) -> list[int]:
    """Where the `kept` largest, or smallest, of a row are, as PyTorch picks and orders them."""
    if kept == 0:
        return []
    keys = ranks(row)
    positions = Positions((-keys if largest else keys).tolist())
    if kept <= row.size // 64:
        positions.partial_sort(kept)
    else:
        positions.nth_element(kept - 1)
        if is_sorted:
            positions.sort(kept - 1)
    return positions.order[:kept]


def kth_position(row: np.ndarray, k: int) -> int:
    """Where the `k`-th smallest is, counted from 0, as PyTorch picks it."""
    positions = Positions(ranks(row).tolist())
    positions.quick_select(k)
    return positions.order[k]


def mode_position(row: np.ndarray) -> int:
    """Where the most frequent value is, of several the smallest: its place that comes last in
    order. A NaN equals nothing."""
    keys = row.tolist()
    positions = Positions(keys)
    positions.sort(len(keys))
    best = count = most = 0
    for place, position in enumerate(positions.order):
        count += 1
        following = positions.order[place + 1 : place + 2]
        if following and keys[position] == keys[following[0]]:
            continue
        if count > most:
            best, most = position, count
        count = 0
    return best
