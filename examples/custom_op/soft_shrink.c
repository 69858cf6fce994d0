/* mylib::soft_shrink: moves every element towards zero by a threshold, and those nearer than it to zero. */
static float shrunk(float x, float threshold) {
    const float above = x - threshold, below = x + threshold;
    return above > 0 ? above : below < 0 ? below : x * 0;
}

int mylib_soft_shrink(const castoff_operand *inputs, const castoff_operand *outputs, double threshold) {
    const float *x = inputs[0].data;
    float *y = outputs[0].data;
    if (inputs[0].dtype != CASTOFF_FLOAT32) return 1;
    for (int64_t i = 0; i < inputs[0].count; ++i) y[i] = shrunk(x[i], (float)threshold);
    return 0;
}
