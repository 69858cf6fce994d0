// A stable order of keys: merge sort, bottom up.
#include "emulation/cub.h"

namespace emulation {

void stable_order(int64_t n, const uint64_t* keys, int64_t* order)
{
    Scratch<int64_t> other(n);
    int64_t *from = order, *to = other.data;
    for (int64_t i = 0; i < n; i++) from[i] = i;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t first = 0; first < n; first += 2 * width) {
            int64_t middle = first + width < n ? first + width : n;
            int64_t last = middle + width < n ? middle + width : n;
            int64_t left = first, right = middle;
            for (int64_t i = first; i < last; i++) {
                bool takes_left = left < middle && (right == last || keys[from[left]] <= keys[from[right]]);
                to[i] = from[takes_left ? left++ : right++];
            }
        }
        int64_t* kept = from;
        from = to;
        to = kept;
    }
    if (from != order) memcpy(order, from, static_cast<size_t>(n) * sizeof(int64_t));
}

}  // namespace emulation
