/* result = 2 * x + y + weight, for x, y of float32[batch, 4]. */
#include "castoff_program.h"

typedef struct {
  const float *x, *y, *weight;
  float *result;
} affine;

static void rows(void *context, int64_t begin, int64_t end, int thread) {
  const affine *a = context;
  (void)thread;
  for (int64_t row = begin; row < end; row++)
    for (int64_t i = 0; i < 4; i++)
      a->result[row * 4 + i] = 2 * a->x[row * 4 + i] + a->y[row * 4 + i] + a->weight[i];
}

static int run(castoff_frame *frame) {
  affine a = {frame->inputs[0], frame->inputs[1], frame->constants[0], frame->outputs[0]};
  castoff_parallel_for(frame->pool, frame->symbols[0], 16, rows, &a);
  return CASTOFF_OK;
}

static void output_shape(const int64_t *symbols, int output, int64_t *shape) {
  (void)output;
  shape[0] = symbols[0];
  shape[1] = 4;
}

static const castoff_dim dims[] = {{-1, 0, 0, 1, 1 << 20, "batch"}, {4, -1, 0, 0, 0, NULL}};
static const castoff_tensor_spec inputs[] = {{"x", "args[0]", {2, 32, 1}, 2, dims, 0, 0},
                                             {"y", "args[1]", {2, 32, 1}, 2, dims, 0, 0}};
static const castoff_tensor_spec outputs[] = {{"result", "result", {2, 32, 1}, 2, dims, 0, 0}};
static const int64_t weight_sizes[] = {4};
static const castoff_constant_spec constants[] = {
    {"layer.weight", {2, 32, 1}, 1, weight_sizes, 0, 16, CASTOFF_REPLACEABLE, 0},
    {"layer.packed", {2, 32, 1}, 1, weight_sizes, 64, 16, 0, 0}};

const castoff_program castoff_program_definition = {
    .abi_version = CASTOFF_ABI_VERSION,
    .name = "affine",
    .n_inputs = 2,
    .inputs = inputs,
    .n_outputs = 1,
    .outputs = outputs,
    .n_constants = 2,
    .constants = constants,
    .n_symbols = 1,
    .weights_size_bytes = 80,
    .output_shape = output_shape,
#ifdef ONLY_V4
    .run = {[CASTOFF_LEVEL_X86_64_V4] = run},
#else
    .run = {run, run},
#endif
};
