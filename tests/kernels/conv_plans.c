/* How convolutions are cut for threads: prints, for some, the items and the tiles of pixels that the busiest of two threads gets. */
#include <stdio.h>

#include "conv.h"

int main(void) {
    static const int64_t sides[] = {7, 14, 28, 56}, channels[] = {64, 128, 192, 384, 576};
    for (int s = 0; s < 4; s++)
        for (int c = 0; c < 5; c++) {
            castoff_conv_f32_args a = {.batch = 1, .groups = 1, .in_channels = 64, .out_channels = channels[c],
                                       .in = {1, sides[s], sides[s]}, .out = {1, sides[s], sides[s]}, .kernel = {1, 1, 1},
                                       .stride = {1, 1, 1}, .dilation = {1, 1, 1}, .weight_packed = (const float *)&a};
            const castoff_conv_f32_plan p = castoff_conv_f32_make_plan(&a, 2);
            const int64_t items = p.pixel_blocks * p.column_blocks, busiest = (items + 1) / 2;
            const int64_t tiles = (p.pixel_block + p.height - 1) / p.height;
            /* in columns by tiles, beside half of what one thread would have */
            printf("%d %d %.3f\n", (int)sides[s], (int)channels[c], (double)(busiest * tiles * p.column_block) /
                   ((double)((p.pixels + p.height - 1) / p.height * channels[c]) / 2));
        }
    return 0;
}
